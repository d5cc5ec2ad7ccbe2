"""One control plane of one name on a machine: two would both think they own the same sessions."""

from __future__ import annotations

import os
import socket
from types import TracebackType
from typing import Self

from binderlet.errors import AlreadyRunning


class InstanceLock:
    """Held while the control plane lives; the kernel lets go of it whatever way the process ends.

    It is a name in the abstract socket namespace: no file that could be left behind, and it holds whichever state
    folder the other one uses.

    Raises:
        AlreadyRunning: another process holds it.
    """

    def __init__(self, instance: str) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            self._socket.bind(f"\0binderlet/{os.getuid()}/{instance}")
        except OSError as error:
            self._socket.close()
            raise AlreadyRunning(
                f"A control plane named {instance!r} runs on this machine already.",
                hint="'binderlet status' shows it and 'binderlet stop-service' ends it;"
                " or give this one another name with server.instance.",
            ) from error

    def close(self) -> None:
        """Let go. Idempotent."""
        self._socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
