"""A data path inside the test's own process, for unit tests of what stands on a ``Router``.

It reads one request head per connection, picks where it goes, and from then on copies bytes both ways; so HTTP, event
streams and WebSockets are all the same to it. Its connections die with the process: a service uses HAProxy.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from http import HTTPStatus

from binderlet.errors import RouterUnavailable
from binderlet.model import Route, Traffic
from binderlet.router.error_pages import ErrorPages, default_pages
from binderlet.router.route_file import check_route
from binderlet.router.traffic import NOTHING

PIECE = 65536
NO_PAGES = ErrorPages(gone="", session_down="", control_down="")
DROPPED = (b"connection", b"keep-alive", b"x-forwarded-for", b"x-forwarded-proto")
BROKEN = (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError)


class InProcessRouter:
    """A ``Router`` on a free port of the loopback; ``control`` (``host:port``) gets what is not a session's."""

    def __init__(self, *, control: str = "", pages: ErrorPages | None = None) -> None:
        self.url_port = 0
        self._control = control
        self._pages = pages or NO_PAGES
        self._routes: dict[str, str] = {}
        self._traffic: dict[str, Traffic] = {}
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.StreamWriter] = set()
        self._idle = asyncio.Event()
        self._idle.set()

    async def prepare(self) -> None:
        """Listen, on the port of last time if there was one."""
        if self._server is None:
            if self._pages is NO_PAGES:
                self._pages = await asyncio.to_thread(default_pages)
            self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.url_port, limit=PIECE)
            self.url_port = self._server.sockets[0].getsockname()[1]

    async def add(self, route: Route) -> None:
        """Set the route."""
        check_route(route.session_id, route.address)
        self._must_run()
        self._routes[route.session_id] = route.address

    async def remove(self, session_id: str) -> None:
        """Forget the route and its counters."""
        self._routes.pop(session_id, None)
        self._traffic.pop(session_id, None)
        self._must_run()

    async def routes(self) -> Mapping[str, str]:
        """Give the table."""
        self._must_run()
        return dict(self._routes)

    async def traffic(self) -> Mapping[str, Traffic]:
        """Give the counters."""
        self._must_run()
        return dict(self._traffic)

    async def ping(self) -> str:
        """Say who this is."""
        self._must_run()
        return "in-process router"

    async def close(self) -> None:
        """Nothing outlives this process and nothing is held."""

    async def shutdown(self) -> None:
        """Stop listening and cut what is open."""
        server, self._server = self._server, None
        if server is not None:
            server.close()
            for writer in self._open:
                writer.transport.abort()
            await server.wait_closed()
            await self._idle.wait()

    def _must_run(self) -> None:
        if self._server is None:
            raise RouterUnavailable("The in-process router is not running.")

    def _count(self, session: str, *, websockets: int = 0, requests: int = 0, came: int = 0, went: int = 0) -> None:
        if session not in self._routes:
            return
        old = self._traffic.get(session, NOTHING)
        self._traffic[session] = Traffic(
            websockets=old.websockets + websockets,
            requests=old.requests + requests,
            bytes_in=old.bytes_in + came,
            bytes_out=old.bytes_out + went,
        )

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open.add(writer)
        self._idle.clear()
        try:
            with suppress(*BROKEN):
                head = await reader.readuntil(b"\r\n\r\n")
                await self._answer(head, reader, writer)
        finally:
            self._open.discard(writer)
            writer.close()
            if not self._open:
                self._idle.set()

    async def _answer(self, head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        target = head.split(b" ", 2)[1].decode("latin-1")
        path, mark, query = target.partition("?")
        session = path.split("/")[2] if path.startswith("/user/") else ""
        address = self._routes.get(session, "") if path.startswith("/user/") else self._control
        if path.startswith("//"):
            writer.write(_page(HTTPStatus.BAD_REQUEST, ""))
        elif path.startswith("/user/") and not address:
            writer.write(_page(HTTPStatus.FAILED_DEPENDENCY, self._pages.gone))
        elif path == f"/user/{session}":
            writer.write(_page(HTTPStatus.TEMPORARY_REDIRECT, "", f"Location: {path}/{mark}{query}\r\n"))
        else:
            await self._carry(head, address, session, reader, writer)

    async def _carry(
        self, head: bytes, address: str, session: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        host, _, port = address.rpartition(":")
        try:
            upstream_reader, upstream = await asyncio.open_connection(host, int(port))
        except (OSError, ValueError):
            page = self._pages.session_down if session else self._pages.control_down
            writer.write(_page(HTTPStatus.SERVICE_UNAVAILABLE, page))
            return
        websocket = b"\r\nupgrade: websocket" in head.lower()
        self._open.add(upstream)
        self._count(session, requests=1, came=len(head), websockets=int(websocket))
        try:
            upstream.write(_forwarded(head, writer.get_extra_info("peername")[0], websocket=websocket))
            async with asyncio.TaskGroup() as copies:
                inwards = copies.create_task(self._copy(reader, upstream, session, came=True))
                await self._copy(upstream_reader, writer, session, came=False)
                inwards.cancel()
        finally:
            self._count(session, websockets=-int(websocket))
            self._open.discard(upstream)
            upstream.close()

    async def _copy(
        self, source: asyncio.StreamReader, target: asyncio.StreamWriter, session: str, *, came: bool
    ) -> None:
        with suppress(*BROKEN):
            while piece := await source.read(PIECE):
                self._count(session, came=len(piece) if came else 0, went=0 if came else len(piece))
                target.write(piece)
                await target.drain()
        if came:
            # The visitor has hung up: nobody waits for the rest of the answer.
            target.close()


def _forwarded(head: bytes, client: str, *, websocket: bool) -> bytes:
    first, *lines = head[:-4].split(b"\r\n")
    kept = [line for line in lines if line.partition(b":")[0].strip().lower() not in DROPPED]
    kept.append(b"Connection: Upgrade" if websocket else b"Connection: close")
    kept += [f"X-Forwarded-For: {client}".encode(), b"X-Forwarded-Proto: http"]
    return b"\r\n".join([first, *kept]) + b"\r\n\r\n"


def _page(status: HTTPStatus, html: str, extra: str = "") -> bytes:
    body = html.encode()
    head = (
        f"HTTP/1.1 {status.value} {status.phrase}\r\n{extra}Content-Type: text/html; charset=utf-8\r\n"
        f"Content-Length: {len(body)}\r\nAccess-Control-Allow-Origin: *\r\nCache-Control: no-store\r\n"
        "Connection: close\r\n\r\n"
    )
    return head.encode() + body
