"""Small servers on the loopback that stand for sessions: they echo, stream and swallow."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from aiohttp import WSMsgType, web

BLOCK = bytes(1024**2)


@dataclass(slots=True)
class Upstream:
    """A running server; ``/user/<any id>/`` is stripped, then ``echo``, ``ws``, ``events``, ``source``, ``sink``."""

    name: str
    address: str
    """``host:port``, or the unix socket's path."""
    events: asyncio.Queue[str] = field(default_factory=asyncio.Queue)
    """What is put here goes out on ``events`` at once; an empty string ends the stream."""
    seen: list[str] = field(default_factory=list)
    """Raw paths of the requests that came."""


@asynccontextmanager
async def upstream(name: str = "up", *, unix_socket: str = "", header_limit: int = 8190) -> AsyncIterator[Upstream]:
    """Run a server on a free port, or on a unix socket, until the block ends."""
    app = web.Application(client_max_size=0)
    runner = web.AppRunner(
        app, handler_cancellation=True, shutdown_timeout=0.1, max_line_size=header_limit, max_field_size=header_limit
    )
    here = Upstream(name=name, address=unix_socket)

    async def handle(request: web.Request) -> web.StreamResponse:
        here.seen.append(request.raw_path)
        kind = request.path.rpartition("/")[2]
        handlers = {"ws": _websocket, "sink": _sink, "source": _source}
        if kind == "events":
            return await _events(request, here.events)
        return await handlers[kind](request) if kind in handlers else await _echo(request, name)

    app.router.add_route("*", "/{path:.*}", handle)
    await runner.setup()
    site: web.BaseSite = web.UnixSite(runner, unix_socket) if unix_socket else web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    if not unix_socket:
        here.address = f"127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield here
    finally:
        await runner.cleanup()


def free_port() -> int:
    """Give a TCP port of the loopback that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


async def _echo(request: web.Request, name: str) -> web.Response:
    """Say what came."""
    body = await request.read()
    answer = {
        "name": name,
        "method": request.method,
        "path": request.raw_path,
        "headers": {key.lower(): value for key, value in request.headers.items()},
        "body": body.decode(errors="replace"),
    }
    return web.Response(text=json.dumps(answer), content_type="application/json")


async def _websocket(request: web.Request) -> web.WebSocketResponse:
    """Send back each message."""
    channel = web.WebSocketResponse()
    await channel.prepare(request)
    async for message in channel:
        if message.type == WSMsgType.TEXT:
            await channel.send_str(message.data)
        elif message.type == WSMsgType.BINARY:
            await channel.send_bytes(message.data)
    return channel


async def _events(request: web.Request, events: asyncio.Queue[str]) -> web.StreamResponse:
    """Send each event as it comes."""
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
    await response.prepare(request)
    while event := await events.get():
        await response.write(f"data: {event}\n\n".encode())
    return response


async def _source(request: web.Request) -> web.StreamResponse:
    """Send as many bytes as asked for."""
    left = int(request.query.get("bytes", "0"))
    response = web.StreamResponse(headers={"Content-Length": str(left)})
    await response.prepare(request)
    while left > 0:
        await response.write(BLOCK[:left] if left < len(BLOCK) else BLOCK)
        left -= len(BLOCK)
    return response


async def _sink(request: web.Request) -> web.Response:
    """Swallow the body and say how long it was."""
    taken = 0
    async for piece in request.content.iter_any():
        taken += len(piece)
    return web.json_response({"bytes": taken})
