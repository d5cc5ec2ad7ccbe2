"""What every ``Router`` promises, against each of them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Protocol

import aiohttp
import pytest
from yarl import URL

from binderlet.errors import RouterUnavailable
from binderlet.model import Route
from binderlet.router.base import Router
from binderlet.router.inprocess import InProcessRouter
from support.routers import folder_for_sockets, running_haproxy
from support.upstreams import free_port, upstream


class RouterOnPort(Router, Protocol):
    """A router that says where it listens."""

    url_port: int


@asynccontextmanager
async def _inprocess() -> AsyncIterator[InProcessRouter]:
    """Run the in-process router until the block ends."""
    router = InProcessRouter()
    try:
        await router.prepare()
        yield router
    finally:
        await router.shutdown()


@pytest.fixture
def state() -> Iterator[Path]:
    """A state folder whose path is short enough for sockets."""
    with folder_for_sockets() as folder:
        yield folder


@pytest.fixture(params=["inprocess", pytest.param("haproxy", marks=pytest.mark.haproxy)])
async def router(request: pytest.FixtureRequest, state: Path) -> AsyncIterator[RouterOnPort]:
    """Each implementation, prepared."""
    async with _inprocess() if request.param == "inprocess" else running_haproxy(state) as made:
        yield made


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    """A client that follows no redirects by itself."""
    async with aiohttp.ClientSession() as session:
        yield session


def url(router: RouterOnPort, path: str) -> str:
    """Give the address of a path."""
    return f"http://127.0.0.1:{router.url_port}{path}"


async def get(http: aiohttp.ClientSession, router: RouterOnPort, path: str) -> tuple[int, Any]:
    """Fetch a path and give status and text."""
    async with http.get(url(router, path), allow_redirects=False) as reply:
        return reply.status, await reply.text()


async def test_route_leads_to_its_session(router: RouterOnPort, http: aiohttp.ClientSession) -> None:
    """A route carries requests under /user/<id>/ to its address, path and query untouched."""
    async with upstream("a") as a:
        await router.add(Route("s-1", a.address))
        status, text = await get(http, router, "/user/s-1/x%20y/../z?q=%2F&q")
        assert status == 200
        assert a.name == "a"
        assert '"name": "a"' in text
        assert await router.routes() == {"s-1": a.address}


async def test_visitor_is_told_of_by_us(router: RouterOnPort, http: aiohttp.ClientSession) -> None:
    """X-Forwarded-For and -Proto are ours, whatever the visitor sends; Host is the visitor's."""
    async with upstream() as up:
        await router.add(Route("s", up.address))
        forged = {"X-Forwarded-For": "6.6.6.6", "X-Forwarded-Proto": "gopher"}
        async with http.get(url(router, "/user/s/"), headers=forged) as reply:
            headers = (await reply.json())["headers"]
        assert headers["x-forwarded-for"] == "127.0.0.1"
        assert headers["x-forwarded-proto"] == "http"
        assert headers["host"] == f"127.0.0.1:{router.url_port}"


async def test_added_again_leads_to_the_new_address(router: RouterOnPort, http: aiohttp.ClientSession) -> None:
    """Adding a route again replaces it at once."""
    async with upstream("old") as old, upstream("new") as new:
        await router.add(Route("s", old.address))
        assert '"old"' in (await get(http, router, "/user/s/"))[1]
        await router.add(Route("s", new.address))
        assert '"new"' in (await get(http, router, "/user/s/"))[1]
        assert await router.routes() == {"s": new.address}


async def test_removed_route_is_gone(router: RouterOnPort, http: aiohttp.ClientSession) -> None:
    """A removed route answers 424 at once, and removing it again does nothing."""
    async with upstream() as up:
        await router.add(Route("s", up.address))
        await router.remove("s")
        await router.remove("s")
        status, text = await get(http, router, "/user/s/lab")
        assert status == 424
        assert "Binder not found" in text
        assert await router.routes() == {}
        assert up.seen == []


@pytest.mark.parametrize(
    "path", ["/user/none/", "/user/none", "/user//s/", "/user/%73/", "/user/s%2F/", "/user/S/", "/user/./s/"]
)
async def test_unknown_session_is_refused(router: RouterOnPort, http: aiohttp.ClientSession, path: str) -> None:
    """An id that is not exactly a routed one is refused with 424 that other origins may read."""
    async with upstream() as up:
        await router.add(Route("s", up.address))
        target = url(router, path)
        async with http.get(URL(target, encoded=True), allow_redirects=False) as reply:
            assert reply.status == 424
            assert reply.headers["Access-Control-Allow-Origin"] == "*"
            assert reply.headers["Cache-Control"] == "no-store"
        assert up.seen == []


async def test_doubled_slash_is_refused(router: RouterOnPort, http: aiohttp.ClientSession) -> None:
    """``//user/<id>/`` is a bad request, not another way to a session."""
    async with upstream() as up:
        await router.add(Route("s", up.address))
        assert (await get(http, router, "//user/s/"))[0] == 400
        assert up.seen == []


@pytest.mark.parametrize("query", ["", "?token=a%20b&x"])
async def test_missing_slash_is_added(router: RouterOnPort, http: aiohttp.ClientSession, query: str) -> None:
    """``/user/<id>`` leads to ``/user/<id>/`` and keeps its query."""
    async with upstream() as up:
        await router.add(Route("s", up.address))
        target = URL(url(router, f"/user/s{query}"), encoded=True)
        async with http.get(target, allow_redirects=False) as reply:
            assert reply.status == 307
            assert reply.headers["Location"] == f"/user/s/{query}"


async def test_dead_session_is_told_at_once(router: RouterOnPort, http: aiohttp.ClientSession) -> None:
    """A route whose session does not listen answers 503 with a page, quickly."""
    await router.add(Route("s", f"127.0.0.1:{free_port()}"))
    async with asyncio.timeout(2):
        status, text = await get(http, router, "/user/s/lab")
    assert status == 503
    assert "does not answer" in text


async def test_control_plane_down(router: RouterOnPort, http: aiohttp.ClientSession) -> None:
    """Without a control plane, everything else answers 503 and says that sessions go on."""
    for path in ("/", "/health", "/build/gh/a/b/HEAD"):
        status, text = await get(http, router, path)
        assert status == 503
        assert "Sessions that run go on" in text


async def test_websocket_and_counters(router: RouterOnPort, http: aiohttp.ClientSession) -> None:
    """A WebSocket works and is counted while it is open, and not when it has closed."""
    async with upstream() as up:
        await router.add(Route("s", up.address))
        async with http.ws_connect(url(router, "/user/s/ws")) as channel:
            await channel.send_str("hello")
            assert (await channel.receive()).data == "hello"
            assert (await router.traffic())["s"].websockets == 1
        await get(http, router, "/user/s/")
        await _until_closed(router)
        counted = (await router.traffic())["s"]
        assert counted.requests == 2
        assert counted.bytes_in > 100
        assert counted.bytes_out > 100


async def _until_closed(router: RouterOnPort) -> None:
    """Wait until no WebSocket is counted."""
    async with asyncio.timeout(5):
        while (await router.traffic())["s"].websockets:  # noqa: ASYNC110 - the router announces nothing
            await asyncio.sleep(0.02)


async def test_removed_session_has_no_counters(router: RouterOnPort, http: aiohttp.ClientSession) -> None:
    """Counters go with the route."""
    async with upstream() as up:
        await router.add(Route("s", up.address))
        await get(http, router, "/user/s/")
        await router.remove("s")
        assert "s" not in await router.traffic()


async def test_events_pass_at_once(router: RouterOnPort, http: aiohttp.ClientSession) -> None:
    """Each server-sent event arrives before the next one is made."""
    async with upstream() as up:
        await router.add(Route("s", up.address))
        async with http.get(url(router, "/user/s/events")) as reply:
            for number in range(20):
                await up.events.put(str(number))
                async with asyncio.timeout(2):
                    assert await reply.content.readuntil(b"\n\n") == f"data: {number}\n\n".encode()
            await up.events.put("")


@pytest.mark.parametrize(
    ("session_id", "address"),
    [
        ("", "127.0.0.1:1"),
        ("A", "127.0.0.1:1"),
        ("a b", "127.0.0.1:1"),
        ("a;show info", "127.0.0.1:1"),
        ("a" * 64, "127.0.0.1:1"),
        ("a", "localhost:1"),
        ("a", "127.0.0.1"),
        ("a", "127.0.0.1:0"),
        ("a", "127.0.0.1:65536"),
        ("a", "127.0.0.1:\u0661"),
        ("a", "::1:8888"),
    ],
)
async def test_odd_routes_are_refused(router: RouterOnPort, session_id: str, address: str) -> None:
    """What is not a session id and an IPv4 address with a port is a ValueError and changes nothing."""
    with pytest.raises(ValueError, match=r"is not|has no port"):
        await router.add(Route(session_id, address))
    assert await router.routes() == {}


async def test_prepare_and_close_are_idempotent(router: RouterOnPort, http: aiohttp.ClientSession) -> None:
    """Preparing again keeps the routes, and closing twice stops nothing."""
    async with upstream() as up:
        await router.add(Route("s", up.address))
        await router.prepare()
        await router.close()
        await router.close()
        assert (await get(http, router, "/user/s/"))[0] == 200
        assert await router.ping()


async def test_shutdown_then_prepare(router: RouterOnPort, http: aiohttp.ClientSession) -> None:
    """After shutdown every call says that the data path is not there; preparing brings all routes back."""
    async with upstream() as up:
        await router.add(Route("s", up.address))
        await router.shutdown()
        await router.shutdown()
        for call in (router.ping, router.routes, router.traffic):
            with pytest.raises(RouterUnavailable):
                await call()
        with pytest.raises(RouterUnavailable):
            await router.add(Route("t", up.address))
        await router.prepare()
        assert (await get(http, router, "/user/s/"))[0] == 200
        assert await router.routes() == {"s": up.address}


async def test_removed_while_down_stays_gone(router: RouterOnPort) -> None:
    """A route removed while the data path is down does not come back with it."""
    await router.add(Route("s", "127.0.0.1:9"))
    await router.shutdown()
    with pytest.raises(RouterUnavailable):
        await router.remove("s")
    await router.prepare()
    assert await router.routes() == {}


async def test_many_at_once(router: RouterOnPort) -> None:
    """Two hundred routes added together are all there, and all gone when removed together."""
    wanted = {f"s-{number}": f"127.0.0.1:{number + 1}" for number in range(200)}
    await asyncio.gather(*(router.add(Route(key, value)) for key, value in wanted.items()))
    assert await router.routes() == wanted
    await asyncio.gather(*(router.remove(key) for key in wanted))
    assert await router.routes() == {}
