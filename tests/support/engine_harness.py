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
from binderlet.clients.kubernetes import KubernetesClient
from binderlet.clients.kubernetes_access import find_access
from binderlet.config.egress import EgressSettings
from binderlet.config.kubernetes import KubernetesSettings
from binderlet.config.schema import EngineSettings
from binderlet.engine.base import Engine
from binderlet.engine.docker import DockerEngine
from binderlet.engine.fake import FakeEngine
from binderlet.engine.guard import Guard
from binderlet.engine.kubernetes import KubernetesEngine
from binderlet.engine.kubernetes_spec import pod_name
from binderlet.model import Limits, Session, SessionSpec
from support.cluster import Cluster
from support.engines import EngineApi, fresh_name, tiny_image
from support.kube_api import engine_on, kube_api

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
    is_real: bool = False
    """Whether its sessions are processes, and ``end`` blocks."""
    guard: Guard | None = None
    """Of a real engine."""


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
async def api_harness() -> AsyncIterator[Harness]:
    """Drive the engine for clusters on an API server that only pretends to run pods."""
    async with kube_api() as api:
        api.images, api.output = {SPEC.image}, "first\nlast words\n"
        api.dies = lambda pod: 3 if pod["spec"]["containers"][0]["args"] == list(DIES) else None
        engine = engine_on(api, "t1")

        @asynccontextmanager
        async def rival() -> AsyncIterator[Engine]:
            stranger = engine_on(api, "t2")
            try:
                yield stranger
            finally:
                await stranger.close()

        try:
            await engine.prepare()
            yield Harness(engine, lambda session: api.end(pod_name("t1", session.id)), lambda: len(api.pods), rival)
        finally:
            await engine.close()


@asynccontextmanager
async def cluster_harness(cluster: Cluster) -> AsyncIterator[Harness]:
    """Drive a real cluster, with instances that nobody else uses."""
    instance, other = fresh_name(), fresh_name()
    settings = KubernetesSettings(namespace=cluster.namespace, pull_policy="Never")

    async def open_engine(name: str) -> KubernetesEngine:
        access = await asyncio.to_thread(find_access, settings)
        return KubernetesEngine(KubernetesClient(access), EngineSettings(), settings, name)

    engine = await open_engine(instance)

    @asynccontextmanager
    async def rival() -> AsyncIterator[Engine]:
        stranger = await open_engine(other)
        try:
            yield stranger
        finally:
            await stranger.close()

    def end(session: Session) -> None:
        # All that this user may end, but for the shell itself.
        name = pod_name(instance, session.id)
        cluster.kubectl("exec", name, "--", "sh", "-c", "kill -9 -1", check=False)

    try:
        await engine.prepare()
        yield Harness(engine, end, lambda: len(cluster.pods(instance)), rival, instance=instance, is_real=True)
    finally:
        await engine.close()
        await asyncio.to_thread(
            cluster.kubectl, "delete", "pods", "--all", "--grace-period=0", "--force", "--wait=false", check=False
        )


@asynccontextmanager
async def real_harness(api: EngineApi, egress: EgressSettings | None = None) -> AsyncIterator[Harness]:
    """Drive a real engine, with an instance and a network that nobody else uses, and clean up.

    Sessions reach what they like, unless there are settings of what they may.
    """
    instance, other = fresh_name(), fresh_name()
    settings = EngineSettings(socket=api.socket_path, network=instance)
    await asyncio.to_thread(tiny_image, api)
    guard = Guard(egress or EgressSettings(mode="off"), instance)
    engine = DockerEngine(await open_docker(settings), settings, instance, guard=guard)

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
        yield Harness(engine, end, traces, rival, api, instance, settings, is_real=True, guard=guard)
    finally:
        await guard.release()
        await engine.close()
        await asyncio.to_thread(api.clean, other, instance)
        await asyncio.to_thread(api.clean, instance, instance)
