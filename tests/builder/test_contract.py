"""What every builder promises."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from binderlet.app.builders import cluster_machinery
from binderlet.builder.base import Builder, BuildRequest
from binderlet.builder.fake import FakeBuilder
from binderlet.config import Settings
from binderlet.config.network import NetworkEnvironment
from binderlet.engine.fake import FakeEngine
from binderlet.errors import BadRepository
from binderlet.events.buildlog import BuildLog
from support.builder_cluster import TIMEOUT, BuilderCluster
from support.values import COMMIT

IN_CLUSTER = [pytest.mark.kube, pytest.mark.docker, pytest.mark.timeout(TIMEOUT)]


@pytest.fixture
async def in_cluster(builders: BuilderCluster) -> AsyncIterator[Builder]:
    """The one whose work is done in pods."""
    settings = Settings.model_validate(builders.settings())
    machinery = await cluster_machinery(settings, NetworkEnvironment(), FakeEngine(), "")
    yield machinery.builder
    await machinery.close()


@pytest.fixture(
    params=[
        "fake",
        pytest.param("buildkit", marks=pytest.mark.docker),
        pytest.param("cluster", marks=IN_CLUSTER),
    ]
)
def builder(request: pytest.FixtureRequest) -> Builder:
    """Each implementation in turn."""
    if request.param == "fake":
        return FakeBuilder()
    made: Builder = (
        request.getfixturevalue("in_cluster")
        if request.param == "cluster"
        else request.getfixturevalue("workshop").builder
    )
    return made


@pytest.fixture
async def log(tmp_path: Path) -> AsyncIterator[BuildLog]:
    """A build's log."""
    made = BuildLog(tmp_path / "contract-log")
    yield made
    await made.flush()


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A repository without configuration."""
    folder = tmp_path / "repository"
    folder.mkdir()
    (folder / "notebook.ipynb").write_text("{}")
    return folder


@pytest.fixture
def request_(request: pytest.FixtureRequest, checkout: Path) -> BuildRequest:
    """One build."""
    prefix = "binderlet-test"
    if "cluster" in str(request.node.name):
        pods: BuilderCluster = request.getfixturevalue("builders")
        prefix = f"{pods.known_as}/b"
    return BuildRequest(COMMIT, checkout, f"{prefix}/i-{secrets.token_hex(6)}:{COMMIT.sha}")


async def test_prepare_is_idempotent(builder: Builder, log: BuildLog) -> None:
    """Preparing twice is preparing once."""
    await builder.prepare(log)
    await builder.prepare(log)


async def test_build_gives_image_of_that_name(builder: Builder, request_: BuildRequest, log: BuildLog) -> None:
    """The image has the name that was asked for, and an id."""
    image = await builder.build(request_, log)
    assert image.name == request_.image
    assert image.id.startswith("sha256:")


async def test_build_is_idempotent(builder: Builder, request_: BuildRequest, log: BuildLog) -> None:
    """Building what is there gives the same image."""
    first = await builder.build(request_, log)
    assert (await builder.build(request_, log)).id == first.id


async def test_build_leaves_checkout_alone(builder: Builder, request_: BuildRequest, log: BuildLog) -> None:
    """The builder changes nothing in the checkout."""
    await builder.build(request_, log)
    assert [path.name for path in request_.checkout.iterdir()] == ["notebook.ipynb"]


async def test_build_logs(builder: Builder, request_: BuildRequest, log: BuildLog) -> None:
    """The log says what is done."""
    await builder.build(request_, log)
    await log.flush()
    assert "default Python environment" in await asyncio.to_thread(log.path.read_text)


async def test_bad_repository_names_its_file(builder: Builder, request_: BuildRequest, log: BuildLog) -> None:
    """A wrong file is refused with its name and line."""
    (request_.checkout / "apt.txt").write_text("curl\nvim && touch /tmp/x\n")
    with pytest.raises(BadRepository, match=r"apt\.txt, line 2"):
        await builder.build(request_, log)


async def test_info_names_builder(builder: Builder) -> None:
    """What goes to /versions are words."""
    assert builder.info["builder"]


async def test_close_is_idempotent(builder: Builder) -> None:
    """Closing twice is closing once."""
    await builder.close()
    await builder.close()
