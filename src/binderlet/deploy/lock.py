"""One control plane of one name on a machine, and one in a state folder: two would both think they own all of it."""

from __future__ import annotations

import hashlib
import os
import socket
from pathlib import Path
from types import TracebackType
from typing import Self

from binderlet.errors import AlreadyRunning


class InstanceLock:
    """Held while the control plane lives; the kernel lets go of it whatever way the process ends.

    It is two names in the abstract socket namespace: no file that could be left behind. ``state`` is absolute.

    Raises:
        AlreadyRunning: another process holds it.
    """

    def __init__(self, instance: str, state: Path) -> None:
        folder = hashlib.sha256(os.fsencode(state)).hexdigest()[:32]
        self._held = [
            _hold(
                f"{os.getuid()}/{instance}",
                f"A control plane named {instance!r} runs on this machine already.",
                "give this one another name with server.instance",
            )
        ]
        try:
            self._held.append(
                _hold(
                    f"state/{folder}",
                    f"Another control plane uses the state folder {state} already.",
                    "give this one another folder with paths.state",
                )
            )
        except AlreadyRunning:
            self.close()
            raise

    def close(self) -> None:
        """Let go. Idempotent."""
        for held in self._held:
            held.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _hold(name: str, taken: str, otherwise: str) -> socket.socket:
    held = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        held.bind(f"\0binderlet/{name}")
    except OSError as error:
        held.close()
        hint = f"'binderlet status' shows it and 'binderlet stop-service' ends it; or {otherwise}."
        raise AlreadyRunning(taken, hint=hint) from error
    return held
