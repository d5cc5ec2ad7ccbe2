"""Servers on unix sockets."""

from __future__ import annotations

import stat
from pathlib import Path

import aiohttp
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from binderlet.api.server import UnixServer
from binderlet.tasks import Tasks


async def hello(_request: Request) -> PlainTextResponse:
    """Answer."""
    return PlainTextResponse("hello")


async def test_it_answers_on_its_socket_until_it_is_stopped(tmp_path: Path) -> None:
    """An application is served on a socket with the mode asked for, replacing a file left there, and ends cleanly."""
    path = tmp_path / "a.sock"
    path.touch()
    server = UnixServer(Starlette(routes=[Route("/", hello)]), path, mode=0o600, shutdown_timeout=1)
    async with Tasks("test") as tasks:
        await server.start(tasks)
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        connector = aiohttp.UnixConnector(str(path))
        async with aiohttp.ClientSession(connector=connector) as session, session.get("http://localhost/") as answer:
            assert await answer.text() == "hello"
        await server.stop()
        assert not len(tasks)
    assert not path.exists()


async def test_a_server_that_never_listened_can_be_stopped(tmp_path: Path) -> None:
    """Cleaning up after a start that failed is no error."""
    await UnixServer(Starlette(), tmp_path / "a.sock", mode=0o600, shutdown_timeout=1).stop()
