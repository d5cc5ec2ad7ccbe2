"""One way to drive each engine in tests: the fake, and real ones with the tiny image."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, replace
from time import time

from binderlet.clients.docker import open_docker
from binderlet.config.schema import EngineSettings
from binderlet.engine.base import Engine
from binderlet.engine.docker import DockerEngine
from binderlet.engine.fake import FakeEngine
from binderlet.model import Limits, Session, SessionSpec
from support.engines import EngineApi, fresh_name, tiny_image

SPEC = SessionSpec(
    id="owner-repo-abcdefgh",
    token='a token with "quotes" and é',
    image="binderlet-test/tiny:1",
    command=("sh", "-c", "echo first; echo last words; exec sleep 600"),
    environment={"BINDER_REPO_URL": "https://example.org/a b?c=d&e='f'", "EMPTY": ""},
    limits=Limits(memory=64 * 1024**2, cpus=0.5, pids=32),
    launch_id="launch-1",
    provider="git",
    spec="https%3A%2F%2Fexample.org%2Fr%20r/feature/x",
    repo_url="https://example.org/r%20r",
    created_at=1763796000.123456,
    port=8888,
)
"""A session that lives until it is stopped; its values need care to come back as they were."""

DIES = ("sh", "-c", "echo last words; exit 3")
HUNGRY = ("sh", "-c", "sleep 1; x=aaaaaaaaaaaaaaaa; while true; do x=$x$x; done")


@dataclass
class Harness:
    """An engine under test and what the tests need beside its port."""

    engine: Engine
    end: Callable[[Session], None]
    """Let a running session end by itself, from outside the engine port."""
    traces: Callable[[], int]
    """How many containers and networks of single sessions the engine has."""
    rival: Callable[[], AbstractAsyncContextManager[Engine]]
    """Another instance's engine on the same machine."""
    api: EngineApi | None = None
    instance: str = ""
    """Of a real engine."""
    settings: EngineSettings | None = None


def spec_of(session_id: str = SPEC.id, command: tuple[str, ...] = SPEC.command) -> SessionSpec:
    """Give a session to start that began now."""
    return replace(SPEC, id=session_id, command=command, created_at=round(time(), 6))


def fake_harness() -> Harness:
    """Drive the fake."""
    engine = FakeEngine(images={SPEC.image})
    engine.output[SPEC.id] = "first\nlast words"

    @asynccontextmanager
    async def rival() -> AsyncIterator[Engine]:
        yield FakeEngine()

    def end(session: Session) -> None:
        engine.end(session.id)

    return Harness(engine, end, lambda: len(engine._sessions), rival)


@asynccontextmanager
async def real_harness(api: EngineApi) -> AsyncIterator[Harness]:
    """Drive a real engine, with an instance and a network that nobody else uses, and clean up."""
    instance, other = fresh_name(), fresh_name()
    settings = EngineSettings(socket=api.socket_path, network=instance)
    await asyncio.to_thread(tiny_image, api)
    engine = DockerEngine(await open_docker(settings), settings, instance)

    @asynccontextmanager
    async def rival() -> AsyncIterator[Engine]:
        stranger = DockerEngine(await open_docker(settings), settings, other)
        try:
            yield stranger
        finally:
            await stranger.close()

    def end(session: Session) -> None:
        # Not by the engine's own kill, which counts as a stop that was wanted.
        os.kill(api.call("GET", f"containers/{session.engine_id}/json")["State"]["Pid"], signal.SIGKILL)

    def traces() -> int:
        return len(api.ours("containers", instance)) + len(api.ours("networks", instance))

    try:
        await engine.prepare()
        yield Harness(engine, end, traces, rival, api, instance, settings)
    finally:
        await engine.close()
        await asyncio.to_thread(api.clean, other, instance)
        await asyncio.to_thread(api.clean, instance, instance)
