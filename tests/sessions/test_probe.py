"""Questions to a session, whose answers are a stranger's."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace

import pytest
from aiohttp import web

from binderlet.sessions.probe import LARGEST_ANSWER, Probe, connects
from support.values import SESSION

Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]
BASE = f"/user/{SESSION.id}/"


class Server:
    """A session's server, whose answers a test sets by path below the session's base."""

    def __init__(self) -> None:
        self.answers: dict[str, Answer | web.Response] = {}
        self.seen: list[tuple[str, str]] = []
        self.session = SESSION

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Answer."""
        self.seen.append((request.path_qs, request.headers.get("Authorization", "")))
        answer = self.answers.get(request.path.removeprefix(BASE))
        if isinstance(answer, web.Response):
            return web.Response(status=answer.status, body=answer.body, headers=answer.headers)
        return await answer(request) if answer else web.Response(status=404)


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    """Run a server."""
    server = Server()
    runner = web.ServerRunner(web.Server(server.handle))  # type: ignore[arg-type]  # BaseRequest there, Request in fact
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0][:2]
    server.session = replace(SESSION, address=f"{host}:{port}")
    yield server
    await runner.cleanup()


@pytest.fixture
async def probe() -> AsyncIterator[Probe]:
    """Give a probe that waits half a second at most."""
    async with Probe(timeout=0.5) as probe:
        yield probe


async def test_a_jupyter_server_is_asked_with_its_token(server: Server, probe: Probe) -> None:
    """It is ready once it answers 200 to who has the token; asking does not count as activity."""
    server.answers["api/status"] = web.Response(text="{}")
    assert not await probe.why_not_ready(server.session)
    assert server.seen == [(f"{BASE}api/status?no_track_activity=1", "token secret-token")]


@pytest.mark.parametrize("status", [403, 500, 502])
async def test_any_other_answer_is_not_ready(server: Server, probe: Probe, status: int) -> None:
    """A server that refuses the token, or is not up yet, is not ready, and what it said is told."""
    server.answers["api/status"] = web.Response(status=status)
    assert await probe.why_not_ready(server.session) == f"it answered with HTTP status {status}"


async def test_another_server_is_ready_when_its_start_page_is(server: Server, probe: Probe) -> None:
    """Without Jupyter's API the base path is asked, and its redirects are followed."""
    server.answers[""] = web.Response(status=302, headers={"Location": "./login?next=x"})
    server.answers["login"] = web.Response(text="hello")
    assert not await probe.why_not_ready(server.session)


async def test_a_server_without_a_page_is_not_ready(server: Server, probe: Probe) -> None:
    """404 everywhere is no answer that a visitor wants."""
    assert await probe.why_not_ready(server.session) == "it answered with HTTP status 404"


async def test_redirects_end(server: Server, probe: Probe) -> None:
    """A server that redirects for ever is not ready."""
    server.answers[""] = web.Response(status=302, headers={"Location": BASE})
    assert await probe.why_not_ready(server.session) == "it answered with HTTP status 302"
    assert len(server.seen) == 6


async def test_redirects_to_other_hosts_are_not_followed(server: Server, probe: Probe) -> None:
    """A session cannot make the control plane fetch what only the control plane can reach."""
    asked: list[str] = []

    async def internal(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append((await reader.readline()).decode())
        writer.close()

    other = await asyncio.start_server(internal, "127.0.0.1", 0)
    port = other.sockets[0].getsockname()[1]
    server.answers[""] = web.Response(status=302, headers={"Location": f"http://127.0.0.1:{port}/latest/meta-data"})
    assert await probe.why_not_ready(server.session) == "it answered with HTTP status 302"
    other.close()
    assert asked == []


async def test_a_closed_port_is_not_ready(probe: Probe) -> None:
    """Nothing listens yet."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{unused.getsockname()[1]}"
        assert await probe.why_not_ready(replace(SESSION, address=address)) == "nothing listens on its port"


async def test_an_open_port_is_connected_to(server: Server) -> None:
    """The cheap question, before any HTTP."""
    assert await connects(server.session.address)


async def test_a_session_without_an_address_is_not_ready(probe: Probe) -> None:
    """It was made and never started."""
    assert await probe.why_not_ready(replace(SESSION, address="")) == "it has no address"


async def test_a_server_that_accepts_and_is_silent_is_not_ready(probe: Probe) -> None:
    """The question ends with its time-out."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        session = replace(SESSION, address=f"127.0.0.1:{silent.getsockname()[1]}")
        assert (await probe.why_not_ready(session)).startswith("it does not answer: ")


async def test_a_server_that_speaks_something_else_is_not_ready(probe: Probe) -> None:
    """Bytes that are no HTTP are no answer."""

    async def babble(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"SSH-2.0-OpenSSH\r\n\r\n")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(babble, "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()
    assert (await probe.why_not_ready(replace(SESSION, address=f"{host}:{port}"))).startswith("it does not answer: ")
    server.close()


@pytest.mark.parametrize(
    ("body", "busy"),
    [
        ('[{"execution_state": "busy"}]', True),
        ('[{"execution_state": "idle"}, {"execution_state": "busy"}]', True),
        ('[{"execution_state": "idle"}]', False),
        ("[]", False),
        ('{"execution_state": "busy"}', False),
        ("[1, null]", False),
        ("[" * 100_000, False),
        ("not json", False),
        ('[{"execution_state": "busy"}]' + " " * LARGEST_ANSWER + "x", True),  # only so much is read
    ],
    ids=lambda value: str(value)[:40],
)
async def test_a_session_is_busy_while_a_kernel_computes(
    server: Server,
    probe: Probe,
    body: str,
    busy: bool,  # noqa: FBT001 - a table
) -> None:
    """Only a Jupyter server that says so is busy, whatever else strangers answer."""
    server.answers["api/kernels"] = web.Response(text=body)
    assert await probe.is_busy(server.session) is busy


async def test_a_session_that_cannot_be_asked_is_not_busy(server: Server, probe: Probe) -> None:
    """Neither one that refuses nor one that is gone."""
    server.answers["api/kernels"] = web.Response(status=403, text=json.dumps([{"execution_state": "busy"}]))
    assert not await probe.is_busy(server.session)
    assert not await probe.is_busy(replace(SESSION, address="127.0.0.1:1"))
    assert not await probe.is_busy(replace(SESSION, address=""))


async def test_ipv6_addresses_work() -> None:
    """An engine may give its sessions addresses of either kind."""
    server = await asyncio.start_server(lambda _reader, writer: writer.close(), "::1", 0)
    port = server.sockets[0].getsockname()[1]
    assert await connects(f"[::1]:{port}")
    server.close()


async def test_connecting_gives_up() -> None:
    """An address that drops packets costs no more than the time-out."""
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        address = f"127.0.0.1:{full.getsockname()[1]}"
        results = [await connects(address, 0.02) for _ in range(4)]
    assert results[-1] is False


async def test_closing_twice_is_as_once() -> None:
    """Also for a probe that never asked."""
    probe = Probe()
    await probe.close()
    await probe.close()
