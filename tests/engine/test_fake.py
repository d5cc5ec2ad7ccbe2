"""What tests can make the fake engine do."""

from __future__ import annotations

import asyncio
import socket
import struct
from dataclasses import replace

import aiohttp
import pytest

from binderlet.engine.fake import FakeEngine
from binderlet.errors import EngineUnavailable, ImageMissing, SessionDied
from binderlet.model import SessionState
from support.engine_harness import SPEC


async def get(address: str, seconds: float = 2.0) -> int:
    """The status of one request to a session."""
    deadline = aiohttp.ClientTimeout(total=seconds)
    async with aiohttp.ClientSession(timeout=deadline) as client, client.get(f"http://{address}/user/x/api") as answer:
        assert await answer.json() == {}
        return answer.status


async def test_it_remembers_what_it_was_asked_for() -> None:
    """Starts and stops are there for a test to look at, in order."""
    engine = FakeEngine()
    await engine.start(SPEC)
    await engine.stop(SPEC.id)
    await engine.stop("other")
    assert (engine.started, engine.stopped) == ([SPEC], [SPEC.id, "other"])


async def test_only_its_images_start() -> None:
    """Without a list of images it has them all."""
    engine = FakeEngine(images={"a:1"})
    with pytest.raises(ImageMissing, match=SPEC.image):
        await engine.start(SPEC)
    assert (await engine.start(replace(SPEC, image="a:1"))).image == "a:1"


async def test_it_can_be_slow_and_fail() -> None:
    """A start takes its delay, and dies or finds the engine down after it."""
    engine = FakeEngine()
    engine.delay, engine.dies_at_once = 0.02, "it ended with exit code 1"
    with pytest.raises(SessionDied, match=r"at once: it ended with exit code 1\.$"):
        await engine.start(SPEC)
    async with asyncio.TaskGroup() as group:
        start = group.create_task(engine.ping())
        assert await start == "Fake 1.0"
    start_session = asyncio.gather(engine.start(SPEC), return_exceptions=True)
    await asyncio.sleep(0.005)
    engine.down = True
    [error] = await start_session
    assert isinstance(error, EngineUnavailable)


async def test_everything_fails_while_it_is_down() -> None:
    """Every method of the port says that the engine does not answer, and watches end; sessions are there after."""
    engine = FakeEngine()
    await engine.start(SPEC)
    watch = engine.watch()
    engine.down = True
    assert engine.down
    for call in (
        engine.prepare(),
        engine.start(SPEC),
        engine.stop(SPEC.id),
        engine.list(),
        engine.logs(SPEC.id),
        engine.ping(),
        anext(watch),
        anext(engine.watch()),
    ):
        with pytest.raises(EngineUnavailable):
            await call
    engine.down = False
    await engine.prepare()
    assert [session.id for session in await engine.list()] == [SPEC.id]


async def test_session_ends_by_itself() -> None:
    """A session that a test ends stays listed with its reason until it is stopped, and is not ended twice."""
    engine = FakeEngine()
    engine.output[SPEC.id] = "one\ntwo\nthree"
    await engine.start(SPEC)
    watch = engine.watch()
    ended = engine.end(SPEC.id, "it ran out of memory")
    assert await anext(watch) == ended
    assert (ended.state, ended.exit_code, ended.ended_because) == (SessionState.ENDED, 137, "it ran out of memory")
    assert await engine.list() == [ended]
    assert await engine.logs(SPEC.id, 2) == "two\nthree"
    await engine.stop(SPEC.id)
    assert await engine.list() == []
    assert await engine.logs(SPEC.id) == ""


async def test_sessions_serve_http() -> None:
    """With serve, a session answers 200 to everything until it ends."""
    engine = FakeEngine(serve=True)
    session = await engine.start(SPEC)
    assert await get(session.address) == 200
    await engine.stop(SPEC.id)
    with pytest.raises(aiohttp.ClientConnectorError):
        await get(session.address)


async def test_sessions_can_be_silent() -> None:
    """A silent session takes connections and says nothing; close ends its server."""
    engine = FakeEngine(serve=True)
    engine.silent = True
    session = await engine.start(SPEC)
    with pytest.raises(TimeoutError):
        await get(session.address, seconds=0.1)
    await engine.close()
    with pytest.raises(aiohttp.ClientConnectorError):
        await get(session.address)


async def test_visitor_that_leaves_is_no_error() -> None:
    """A connection that is cut before its answer disturbs nothing."""
    engine = FakeEngine(serve=True)
    session = await engine.start(SPEC)
    host, port = session.address.split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(b"GET / HTTP/1.1\r\n")
    await writer.drain()
    # Without lingering, closing resets the connection.
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
    assert await reader.read() == b""
    assert await get(session.address) == 200
    await engine.close()
