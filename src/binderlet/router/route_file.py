"""The routes on disk: what HAProxy reads when it starts or reloads, so that no route is lost with it."""

from __future__ import annotations

import asyncio
import ipaddress
import os
import re
from collections.abc import Mapping
from pathlib import Path

import structlog

log = structlog.get_logger(__name__)

SESSION_ID = re.compile(r"[a-z0-9-]{1,63}")


class RouteFile:
    """A table of session id to ``host:port`` with a file that follows it. ``save`` returns once the file has it all."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._routes: dict[str, str] = {}
        self._version = 0
        self._saved = -1
        self._writing = asyncio.Lock()

    @property
    def routes(self) -> Mapping[str, str]:
        """The table as it is now."""
        return self._routes

    def put(self, session_id: str, address: str) -> None:
        """Set an entry."""
        self._routes[session_id] = address
        self._version += 1

    def drop(self, session_id: str) -> None:
        """Take an entry out, if it is there."""
        self._routes.pop(session_id, None)
        self._version += 1

    def replace(self, routes: Mapping[str, str]) -> None:
        """Take over another table whole."""
        self._routes = dict(routes)
        self._version += 1

    async def load(self) -> None:
        """Read the file into the table; a line that is no route is skipped with a warning, no file is no route."""
        self.replace(await asyncio.to_thread(read_routes, self.path))

    async def save(self) -> None:
        """Write the table, atomically and off the event loop; callers that come together share one write."""
        wanted = self._version
        async with self._writing:
            if self._saved >= wanted:
                return
            version = self._version
            text = "".join(f"{key} {value}\n" for key, value in self._routes.items())
            await asyncio.to_thread(write_atomically, self.path, text)
            self._saved = version


def check_route(session_id: str, address: str) -> None:
    """Refuse what HAProxy would misread.

    Raises:
        ValueError: the id is not ``[a-z0-9-]{1,63}``, or the address is not an IPv4 address and a port.
    """
    if not SESSION_ID.fullmatch(session_id):
        raise ValueError(f"{session_id!r} is not a session id: lower-case letters, digits and '-', at most 63")
    host, _, port = address.rpartition(":")
    try:
        ipaddress.IPv4Address(host)
    except ValueError as error:
        raise ValueError(f"{address!r} is not an IPv4 address and a port") from error
    if not (port.isascii() and port.isdigit() and 0 < int(port) < 65536):  # noqa: PLR2004 - ports
        raise ValueError(f"{address!r} has no port between 1 and 65535")


def read_routes(path: Path) -> dict[str, str]:
    """Read a map file; the first of two lines for one session counts, as in HAProxy."""
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except FileNotFoundError:
        return {}
    routes: dict[str, str] = {}
    for line in lines:
        session_id, _, address = line.partition(" ")
        try:
            check_route(session_id, address)
        except ValueError as error:
            log.warning("a line of the routes file was skipped", path=str(path), reason=str(error))
            continue
        routes.setdefault(session_id, address)
    return routes


def write_atomically(path: Path, text: str, *, mode: int = 0o644) -> None:
    """Replace a file so that a reader sees the old text or the new one, never a part; blocks."""
    beside = path.with_name(f"{path.name}.{os.getpid()}.new")
    beside.touch(mode=mode)
    beside.write_text(text, encoding="utf-8")
    beside.replace(path)
