"""The router for unit tests, beyond its contract."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import aiohttp
import pytest

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
