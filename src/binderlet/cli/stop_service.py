"""``binderlet stop-service``: ends the running service."""

from __future__ import annotations

import socket
import struct
import time
from typing import TYPE_CHECKING, Annotated

import typer

from binderlet.cli.options import ConfigFile, SetKeys, read_settings
from binderlet.errors import ServiceUnavailable

if TYPE_CHECKING:
    from pathlib import Path

LOOK_EVERY = 0.05
CREDENTIALS = struct.Struct("3i")
"""What the kernel tells of the other end of a unix socket: process, user, group."""


def stop_service(
    *,
    wait: Annotated[
        float, typer.Option("--wait", help="Seconds to wait until it has ended; 0 returns at once.")
    ] = 60.0,
    config: ConfigFile = None,
    keys: SetKeys = None,
) -> None:
    """End the running service, its sessions and its HAProxy."""
    from binderlet.cli.admin import socket_path
    from binderlet.cli.ask import ask

    settings = read_settings(config, keys).settings
    pid = process_behind(socket_path(settings))
    ask(settings, "POST", "/shutdown")
    if wait and pid is not None:
        wait_until_ended(pid, wait)
        typer.echo("The service has ended.")


def process_behind(path: Path) -> int | None:
    """Give the process that listens on a unix socket, or None where nothing does."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        try:
            connection.connect(str(path))
        except OSError:
            return None
        told = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, CREDENTIALS.size)
    pid: int = CREDENTIALS.unpack(told)[0]
    return pid


def wait_until_ended(pid: int, seconds: float) -> None:
    """Return once the process has ended: its sockets close long before its sessions are gone.

    Raises:
        ServiceUnavailable: it still runs after that long.
    """
    import psutil

    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            if psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
                return
        except psutil.NoSuchProcess:
            return
        time.sleep(LOOK_EVERY)
    raise ServiceUnavailable(f"The service still runs after {seconds:g} seconds.", hint="Look at its log.")
