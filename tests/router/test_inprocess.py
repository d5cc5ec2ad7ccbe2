"""The router for unit tests, beyond its contract."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import aiohttp
import pytest

from binderlet.errors import RouterUnavailable
from binderlet.model import Route
from binderlet.router.error_pages import ErrorPages
from binderlet.router.inprocess import InProcessRouter
from support.upstreams import free_port, upstream

PAGES = ErrorPages(gone="gone", session_down="session down", control_down="control down")


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    """A client for the test."""
    async with aiohttp.ClientSession() as session:
        yield session


@pytest.fixture
async def router() -> AsyncIterator[InProcessRouter]:
    """A running router."""
    made = InProcessRouter(pages=PAGES)
    await made.prepare()
    yield made
    await made.shutdown()


async def test_routes_and_counters(router: InProcessRouter, http: aiohttp.ClientSession) -> None:
    """A session's requests and WebSockets pass and are counted; other ids, odd paths and dead sessions are told."""
    base = f"http://127.0.0.1:{router.url_port}"
    async with upstream() as up:
        await router.add(Route("s", up.address))
        await router.add(Route("dead", f"127.0.0.1:{free_port()}"))
        async with http.ws_connect(f"{base}/user/s/ws") as channel:
            await channel.send_str("x")
            assert (await channel.receive(timeout=5)).data == "x"
            assert (await router.traffic())["s"].websockets == 1
        for path, status in {"/user/no/": 424, "//user/s/": 400, "/user/s": 307, "/user/dead/": 503, "/": 503}.items():
            async with http.get(base + path, allow_redirects=False) as reply:
                assert reply.status == status
        assert (await router.traffic())["s"].requests == 1
        await router.remove("s")
        assert (await router.traffic()).keys() == set()
        assert list(await router.routes()) == ["dead"]


async def test_life() -> None:
    """It has pages of its own, may be prepared and ended twice, and says so when it does not run."""
    router = InProcessRouter()
    await router.prepare()
    await router.prepare()
    assert "Binder not found" in router._pages.gone
    assert await router.ping()
    await router.shutdown()
    await router.shutdown()
    await router.close()
    with pytest.raises(RouterUnavailable):
        await router.ping()


async def test_request_without_an_end(router: InProcessRouter) -> None:
    """A route removed in the middle is not counted any more, and two open connections end together."""
    async with upstream() as up:
        await router.add(Route("s", up.address))
        streams = [await asyncio.open_connection("127.0.0.1", router.url_port) for _ in range(2)]
        for reader, writer in streams:
            writer.write(b"GET /user/s/events HTTP/1.1\r\nHost: x\r\n\r\n")
            assert await reader.readline() == b"HTTP/1.1 200 OK\r\n"
        await router.remove("s")
        assert await router.traffic() == {}
        for _, writer in streams:
            writer.close()
            await writer.wait_closed()


async def test_control_plane(http: aiohttp.ClientSession) -> None:
    """What is not a session's goes to the control plane, uncounted; without one there is its page."""
    async with upstream("control") as control:
        router = InProcessRouter(control=control.address, pages=PAGES)
        await router.prepare()
        base = f"http://127.0.0.1:{router.url_port}"
        async with http.get(f"{base}/versions") as reply:
            assert (await reply.json())["name"] == "control"
        assert await router.traffic() == {}
        await router.shutdown()
    router = InProcessRouter(control=f"127.0.0.1:{free_port()}", pages=PAGES)
    await router.prepare()
    async with http.get(f"http://127.0.0.1:{router.url_port}/versions") as reply:
        assert (reply.status, await reply.text()) == (503, "control down")
    await router.shutdown()


async def test_shutdown_cuts_what_is_open(http: aiohttp.ClientSession) -> None:
    """An open WebSocket ends with the router, and the next router may have the same port."""
    async with upstream() as up:
        router = InProcessRouter(pages=PAGES)
        await router.prepare()
        port = router.url_port
        await router.add(Route("s", up.address))
        channel = await http.ws_connect(f"http://127.0.0.1:{port}/user/s/ws")
        await router.shutdown()
        assert (await channel.receive(timeout=5)).type in {aiohttp.WSMsgType.CLOSED, aiohttp.WSMsgType.ERROR}
        await channel.close()
        await router.prepare()
        assert router.url_port == port
        await router.shutdown()


async def test_visitor_that_hangs_up(http: aiohttp.ClientSession) -> None:
    """When the visitor leaves in the middle, the session's side is closed too."""
    async with upstream() as up:
        router = InProcessRouter(pages=PAGES)
        await router.prepare()
        await router.add(Route("s", up.address))
        reply = await http.get(f"http://127.0.0.1:{router.url_port}/user/s/events")
        reply.close()
        async with asyncio.timeout(5):
            while router._open:  # noqa: ASYNC110 - nothing announces it
                await asyncio.sleep(0.01)
        await router.shutdown()


async def test_half_a_request() -> None:
    """A visitor that leaves before its request is whole does no harm."""
    router = InProcessRouter(pages=PAGES)
    await router.prepare()
    _, writer = await asyncio.open_connection("127.0.0.1", router.url_port)
    writer.write(b"GET /user/s/ HT")
    writer.close()
    await writer.wait_closed()
    async with asyncio.timeout(5):
        while router._open:  # noqa: ASYNC110 - nothing announces it
            await asyncio.sleep(0.01)
    await router.shutdown()
