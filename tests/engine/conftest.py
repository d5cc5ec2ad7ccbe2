"""The engines that are there."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from binderlet.clients.docker import DockerClient, open_docker
from binderlet.config.schema import EngineSettings
from support.cluster import Cluster, cluster
from support.engine_harness import Harness, api_harness, cluster_harness, fake_harness, real_harness
from support.engines import EngineApi, docker_socket, podman_service
from support.scripted_engine import ScriptedEngine, scripted_engine


@pytest.fixture(scope="session")
def docker_api() -> EngineApi:
    """The machine's Docker."""
    return EngineApi(docker_socket())


@pytest.fixture(scope="session")
def podman_api() -> Iterator[EngineApi]:
    """A Podman of our own."""
    with podman_service() as api:
        yield api


@pytest.fixture(scope="session")
def kube() -> Iterator[Cluster]:
    """A cluster."""
    with cluster() as ours:
        yield ours


KUBE = pytest.param("kube", marks=[pytest.mark.kube, pytest.mark.timeout(60)])
REAL = [pytest.param("docker", marks=pytest.mark.docker), pytest.param("podman", marks=pytest.mark.podman)]


@pytest.fixture(params=REAL)
async def real(request: pytest.FixtureRequest) -> AsyncIterator[Harness]:
    """Each real engine in turn."""
    async with real_harness(request.getfixturevalue(f"{request.param}_api")) as harness:
        yield harness


@pytest.fixture
async def docker(docker_api: EngineApi) -> AsyncIterator[Harness]:
    """The machine's Docker."""
    async with real_harness(docker_api) as harness:
        yield harness


@pytest.fixture(params=["fake", "kube-api", *REAL, KUBE])
async def harness(request: pytest.FixtureRequest) -> AsyncIterator[Harness]:
    """Each engine in turn."""
    if request.param == "fake":
        yield fake_harness()
        return
    if request.param == "kube-api":
        async with api_harness() as pretended:
            yield pretended
        return
    if request.param == "kube":
        async with cluster_harness(request.getfixturevalue("kube")) as pods:
            yield pods
        return
    async with real_harness(request.getfixturevalue(f"{request.param}_api")) as real:
        yield real


@pytest.fixture
async def scripted(tmp_path: Path) -> AsyncIterator[ScriptedEngine]:
    """An engine that answers by script."""
    async with scripted_engine(tmp_path) as engine:
        yield engine


@pytest.fixture
async def client(scripted: ScriptedEngine) -> AsyncIterator[DockerClient]:
    """A client that is open to it."""
    async with await open_docker(EngineSettings(socket=str(scripted.socket_path))) as opened:
        yield opened
