"""The first process of a builder pod: serves Podman's API to the programs of this very container, and reaps.

Standard library alone. It listens on a unix socket in the container, never on a port; builds cannot reach it.
"""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Callable
from pathlib import Path
from types import FrameType

CACHE = Path("/cache")
"""Podman's images and the builder's state; as large as the chart says."""
RUN = Path("/run/binderlet")
"""In memory: the socket, and Podman's run-time files."""
SOCKET = RUN / "podman.sock"
FOLDERS = (CACHE / "storage", CACHE / "state", CACHE / "home", RUN / "podman")
WORK = CACHE / "work"
"""Checkouts and temporary files. Users of a build's own namespace pass through."""
COMMAND = ("podman", "system", "service", "--time=0", f"unix://{SOCKET}")


def main(wait: Callable[[], tuple[int, int]] = os.wait) -> int:
    """Run until asked to end, or until Podman ends; gives the exit code."""
    os.umask(0o022)
    for folder in FOLDERS:
        folder.mkdir(parents=True, exist_ok=True)
        # A volume's group would otherwise be given on to the files of all images.
        folder.chmod(0o700)
    WORK.mkdir(exist_ok=True)
    WORK.chmod(0o711)
    SOCKET.unlink(missing_ok=True)
    podman = os.posix_spawnp(COMMAND[0], COMMAND, os.environ)

    def end(_number: int, _frame: FrameType | None) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(podman, signal.SIGTERM)

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, end)
    while True:
        process, status = wait()  # builds that outlived their worker become our children
        if process == podman:
            return max(0, os.waitstatus_to_exitcode(status))
