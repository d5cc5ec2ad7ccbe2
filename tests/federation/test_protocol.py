"""The short way gives what the long way gives, and takes only what is plain."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator

import aiohttp
import pytest

from binderlet.federation import redirector as redirector_module
from binderlet.federation.pages import Pages
from binderlet.federation.redirector import Redirector
from binderlet.federation.run import listen, make_server
from binderlet.tasks import Tasks
from support.federation import federation, well
from support.members import raw

pytestmark = pytest.mark.timeout(60)

GET = b"GET /build/gh/o/r/HEAD HTTP/1.1\r\nHost: x\r\n"


@pytest.fixture
async def port() -> AsyncIterator[int]:
    """A redirector's server, without probes and pages."""
    redirector = Redirector(federation({"a": 1}))
    redirector.learn("a", well())
    listener = listen("127.0.0.1", 0)
    async with aiohttp.ClientSession() as client, Tasks("test") as tasks:
        server = make_server(redirector, Pages(redirector, client), 1)
        serving = tasks.start(server.serve(sockets=[listener]), name="server")
        yield int(listener.getsockname()[1])
        server.should_exit = True
        await asyncio.wait({serving})
    listener.close()


async def ask(port: int, request: bytes, *, until: int = 1) -> bytes:
    """Send bytes, give what comes back."""
    return await asyncio.to_thread(raw, port, request, until=until)


async def test_the_short_way(port: int) -> None:
    """A plain launch is answered whole."""
    found = await ask(port, GET + b"\r\n")
    assert found.startswith(b"HTTP/1.1 307 ")
    assert b"location: https://a.test/build/gh/o/r/HEAD\r\n" in found
    assert b"server: " not in found


async def test_in_pieces(port: int) -> None:
    """A request may come in pieces."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    for piece in (GET[:9], GET[9:30], GET[30:] + b"Coo", b"kie: a=b\r\n", b"\r\n"):
        writer.write(piece)
        await writer.drain()
        await asyncio.sleep(0.01)
    assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 307 ")
    writer.close()
    await writer.wait_closed()


async def test_several_at_once(port: int) -> None:
    """Requests that come together are answered in their order, whichever way each takes."""
    head = b"HEAD /build/gh/o/second/HEAD HTTP/1.1\r\nHost: x\r\n\r\n"
    health = b"OPTIONS /third HTTP/1.1\r\nHost: x\r\n\r\n"
    found = await ask(port, GET + b"\r\n" + head + health + GET.replace(b"/r/", b"/last/") + b"\r\n", until=4)
    answers = found.split(b"HTTP/1.1 ")[1:]
    assert [one[:3] for one in answers] == [b"307", b"307", b"200", b"307"]
    assert b"/second/" in answers[1]
    assert b"/last/" in answers[3]


async def test_the_connection_closes_when_asked(port: int) -> None:
    """``Connection: close`` closes it after the answer."""
    found = await ask(port, GET + b"Connection: close\r\n\r\n", until=2)
    assert found.startswith(b"HTTP/1.1 307 ")


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (GET.replace(b"1.1", b"1.0") + b"\r\n", b"307"),
        (GET + b"Content-Length: 3\r\n\r\nabc", b"307"),
        (GET + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", b"307"),
        (GET + b"Expect: 100-continue\r\n\r\n", b"307"),
        (GET.replace(b"GET", b"HEAD") + b"\r\n", b"307"),
        (GET.replace(b"GET", b"POST") + b"Content-Length: 0\r\n\r\n", b"405"),
        (GET.replace(b"GET", b"OPTIONS") + b"\r\n", b"200"),
        (GET.replace(b"/gh/", b"/gh\xc3\xa4/") + b"\r\n", b"400"),
        (GET + b"Connection: upgrade\r\nUpgrade: websocket\r\n\r\n", b"307"),
        (b"GET /build/ /x HTTP/1.1\r\n\r\n", b"400"),
    ],
)
async def test_the_long_way(port: int, request_: bytes, status: bytes) -> None:
    """Whatever is odd is left to the server and the application."""
    found = await ask(port, request_)
    assert found.split(b" ", 2)[1] == status


async def test_a_cookie_is_read(port: int) -> None:
    """Headers of any kind do not matter, the cookie does."""
    found = await ask(port, GET + b"Accept: */*\r\nCookie: host=https://nobody.test\r\nX: y\r\n\r\n")
    assert b'set-cookie: host="https://a.test"; Path=/build/gh/o/r/HEAD;' in found


async def test_what_has_no_short_answer(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the redirector has no answer to goes the long way, and is refused there."""
    monkeypatch.setattr(redirector_module, "SAFE_TARGET", re.compile(b"nothing"))
    assert (await ask(port, GET + b"\r\n")).startswith(b"HTTP/1.1 400 ")
