"""The engines that are there."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest

from support.engine_harness import Harness, fake_harness, real_harness
from support.engines import EngineApi, docker_socket, podman_service


@pytest.fixture(scope="session")
def docker_api() -> EngineApi:
    """The machine's Docker."""
    return EngineApi(docker_socket())


@pytest.fixture(scope="session")
def podman_api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EngineApi]:
    """A Podman of our own."""
    with podman_service(tmp_path_factory.mktemp("podman")) as api:
        yield api


REAL = [pytest.param("docker", marks=pytest.mark.docker), pytest.param("podman", marks=pytest.mark.podman)]


@pytest.fixture(params=REAL)
async def real(request: pytest.FixtureRequest) -> AsyncIterator[Harness]:
    """Each real engine in turn."""
    async with real_harness(request.getfixturevalue(f"{request.param}_api")) as harness:
        yield harness


@pytest.fixture(params=["fake", *REAL])
async def harness(request: pytest.FixtureRequest) -> AsyncIterator[Harness]:
    """Each engine in turn."""
    if request.param == "fake":
        yield fake_harness()
        return
    async with real_harness(request.getfixturevalue(f"{request.param}_api")) as real:
        yield real
