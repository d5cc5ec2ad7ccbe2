"""HTTPS by the real HAProxy: what it serves, redirects, and swaps while visitors work."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import aiohttp
import pytest

from binderlet.config.schema import ServerSettings
from binderlet.errors import RouterUnavailable
from binderlet.model import Route
from binderlet.router.certificate import make_self_signed
from binderlet.router.config import CERTIFICATE, Tls
from binderlet.router.haproxy import HAProxyRouter
from support.acme_server import certificate_of
from support.routers import folder_for_sockets
from support.upstreams import free_port, upstream

pytestmark = pytest.mark.haproxy

NAME = "binder.test"


@pytest.fixture
def state() -> Iterator[Path]:
    """A state folder with a first certificate."""
    with folder_for_sockets() as folder:
        (folder / "run").mkdir()
        (folder / "run" / CERTIFICATE).write_bytes(make_self_signed([NAME], time.time()).pem)
        yield folder


@pytest.fixture
def tls() -> Tls:
    """HTTPS on a free port."""
    return Tls(free_port(), hsts=3600)


@pytest.fixture
async def router(state: Path, tls: Tls) -> AsyncIterator[HAProxyRouter]:
    """A running HAProxy that ends TLS."""
    server = ServerSettings(host="127.0.0.1", port=free_port())
    made = HAProxyRouter(server, state, state / "run" / "control.sock", tls=tls)
    try:
        await made.prepare()
        yield made
    finally:
        await made.shutdown()


def trusting() -> aiohttp.ClientSession:
    """Make a client that takes any certificate."""
    return aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=False))


async def test_http_leads_to_https(router: HAProxyRouter, tls: Tls) -> None:
    """A visitor by http is sent to the same page by https; the authority's tokens and health checks are not."""
    plain = f"http://127.0.0.1:{router.url_port}"
    async with trusting() as http:
        async with http.get(f"{plain}/v2/gh/o/r/HEAD?x=1", allow_redirects=False) as answer:
            assert answer.status == 308
            assert answer.headers["location"] == f"https://127.0.0.1:{tls.port}/v2/gh/o/r/HEAD?x=1"
        for path in ("/.well-known/acme-challenge/x", "/health"):
            async with http.get(plain + path, allow_redirects=False) as answer:
                assert answer.status == 503, "there is no control plane behind it"


async def test_sessions_come_by_https(router: HAProxyRouter, tls: Tls) -> None:
    """A session is reached by https, learns that it was, and browsers are told to stay with it."""
    async with upstream("s") as session, trusting() as http:
        await router.add(Route("s", session.address))
        async with http.get(f"https://127.0.0.1:{tls.port}/user/s/echo") as answer:
            assert answer.status == 200
            assert answer.headers["strict-transport-security"] == "max-age=3600"
            assert (await answer.json())["headers"]["x-forwarded-proto"] == "https"


async def test_a_certificate_is_swapped_under_an_open_websocket(router: HAProxyRouter, tls: Tls, state: Path) -> None:
    """New visitors see the new certificate, without a reload; an open WebSocket goes on."""
    fresh = make_self_signed([NAME], time.time())
    async with upstream("s") as session, trusting() as http:
        await router.add(Route("s", session.address))
        pid = (await router._client.info())["Pid"]
        async with http.ws_connect(f"https://127.0.0.1:{tls.port}/user/s/ws") as channel:
            before = await asyncio.to_thread(certificate_of, "127.0.0.1", tls.port, NAME)
            await router.set_certificate(fresh.pem)
            after = await asyncio.to_thread(certificate_of, "127.0.0.1", tls.port, NAME)
            assert before != after
            assert fresh.pem.startswith(after)
            await channel.send_str("still here")
            assert await channel.receive_str(timeout=10) == "still here"
    assert (await router._client.info())["Pid"] == pid
    # The next one too: nothing of the first transaction is left.
    await router.set_certificate(await asyncio.to_thread((state / "run" / CERTIFICATE).read_bytes))
    assert await asyncio.to_thread(certificate_of, "127.0.0.1", tls.port, NAME) == before


async def test_a_broken_certificate_is_refused(router: HAProxyRouter, tls: Tls) -> None:
    """HAProxy says why, and goes on with the old one."""
    before = await asyncio.to_thread(certificate_of, "127.0.0.1", tls.port, NAME)
    with pytest.raises(RouterUnavailable, match="does not take the new certificate"):
        await router.set_certificate(b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
    assert await asyncio.to_thread(certificate_of, "127.0.0.1", tls.port, NAME) == before
