"""What every registry does; the fake passes the same tests as docker-registry on a bucket behind the gate."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from binderlet.clients.docker import open_docker
from binderlet.config.schema import EngineSettings
from binderlet.errors import ImageMissing, ImagesUnavailable
from binderlet.images.fake import FakeImages
from binderlet.images.registry import oci
from binderlet.images.registry.base import Progress, Registry
from binderlet.images.registry.fake import FakeRegistry
from binderlet.images.registry.gate import Gate, Upstream
from binderlet.images.registry.oci import OciRegistry
from binderlet.images.registry.throttle import Throttle
from binderlet.model import Image
from support.engines import EngineApi, docker_socket
from support.registry_images import build_image, has_image, remove_image
from support.registry_server import client_of, docker_registry

pytestmark = pytest.mark.timeout(180)
LABELS = {"repo2docker.ref": "abc"}


@dataclass
class Harness:
    """A registry, and ways to look at and change what the engine has."""

    registry: Registry
    build: Callable[[str], Awaitable[str]]
    remove: Callable[[str], Awaitable[None]]
    is_here: Callable[[str], Awaitable[bool]]
    break_off: Callable[[], Awaitable[None]]


@pytest.fixture(params=["fake", pytest.param("docker", marks=pytest.mark.docker)])
async def harness(request: pytest.FixtureRequest) -> AsyncIterator[Harness]:
    """Give each implementation in turn."""
    if request.param == "fake":
        yield _fake()
        return
    s3 = request.getfixturevalue("s3")
    folder = request.getfixturevalue("tmp_path")
    async with docker_registry(s3) as process, _real(folder, EngineApi(docker_socket()), process) as made:
        yield made


def _fake() -> Harness:
    images = FakeImages()
    registry = FakeRegistry(images)

    async def build(name: str) -> str:
        images.images[name] = Image(name, f"sha256:{name}", 1, LABELS)
        return images.images[name].id

    async def is_here(name: str) -> bool:
        return await images.find(name) is not None

    async def break_off() -> None:
        registry.is_down = True

    return Harness(registry, build, images.remove, is_here, break_off)


class _real:  # noqa: N801 - used as a function
    """The real one, whose images of this test are removed afterwards."""

    def __init__(self, folder: Path, api: EngineApi, process: object) -> None:
        self._folder, self._api, self._process = folder, api, process
        self._built: list[str] = []

    async def __aenter__(self) -> Harness:
        self._docker = await open_docker(EngineSettings())
        client = client_of(self._process)  # type: ignore[arg-type]  # see docker_registry
        throttle = Throttle(0, 1, lambda: False)
        self._gate = Gate({"r": Upstream(client, "some/folder/", throttle)}, self._folder / "port")
        await self._gate.start()
        self._registry = OciRegistry(client, self._docker, self._gate, "r", folder="some/folder/")
        return Harness(self._registry, self._build, self._remove, self._is_here, self._break_off)

    async def __aexit__(self, *_: object) -> None:
        for name in self._built:
            await asyncio.to_thread(remove_image, self._api, name)
        await self._registry.close()
        await self._gate.close()
        await self._docker.close()

    async def _build(self, name: str) -> str:
        self._built.append(name)
        return await asyncio.to_thread(build_image, self._api, name, LABELS)

    async def _remove(self, name: str) -> None:
        await asyncio.to_thread(remove_image, self._api, name)

    async def _is_here(self, name: str) -> bool:
        return await asyncio.to_thread(has_image, self._api, name)

    async def _break_off(self) -> None:
        await self._process.end()  # type: ignore[attr-defined]  # see docker_registry


@pytest.fixture
def name() -> str:
    """Give a name that no other test has."""
    return f"binderlet-test/registry-{secrets.token_hex(4)}:1"


async def test_there_and_back(harness: Harness, name: str) -> None:
    """What is pushed is found, and pulled it is the same image with its labels, under the name that was asked for."""
    image_id = await harness.build(name)
    pushed = await harness.registry.push(name)
    assert (pushed.name, pushed.image_id, pushed.labels["repo2docker.ref"]) == (name, image_id, "abc")
    assert pushed.size > 0
    assert await harness.registry.find(name) == pushed
    await harness.remove(name)
    told: list[Progress] = []
    other = name.replace(":1", ":2")
    image = await harness.registry.pull(pushed, other, told.append)
    try:
        assert (image.name, image.id) == (other, image_id)
        assert image.labels["repo2docker.ref"] == "abc"
        assert await harness.is_here(other)
        assert not await harness.is_here(name)
    finally:
        await harness.remove(other)


async def test_pushing_again_changes_nothing(harness: Harness, name: str) -> None:
    """What is there stays as it is when it is pushed again."""
    await harness.build(name)
    assert await harness.registry.push(name) == await harness.registry.push(name)


async def test_missing(harness: Harness, name: str) -> None:
    """What is not there is not found; what is not here cannot be pushed, nor what is gone be pulled."""
    assert await harness.registry.find(name) is None
    with pytest.raises(ImageMissing):
        await harness.registry.push(name)
    await harness.build(name)
    remote = await harness.registry.push(name)
    await harness.registry.delete(name)
    await harness.registry.delete(name)
    assert await harness.registry.find(name) is None
    await harness.remove(name)
    with pytest.raises(ImageMissing):
        await harness.registry.pull(remote, name, lambda _: None)
    assert not await harness.is_here(name)


async def test_notes(harness: Harness) -> None:
    """Documents are kept, replaced and listed."""
    assert await harness.registry.notes() == []
    assert await harness.registry.read_note("one") is None
    await harness.registry.write_note("one", b"1")
    await harness.registry.write_note("one", b"2")
    assert await harness.registry.read_note("one") == b"2"
    assert await harness.registry.notes() == ["one"]


async def test_no_answer_is_never_missing(harness: Harness, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the registry does not answer, nothing counts as missing."""
    monkeypatch.setattr(oci, "STUCK", 0.5)
    await harness.build(name)
    remote = await harness.registry.push(name)
    await harness.registry.ping()
    await harness.break_off()
    for ask in (
        harness.registry.ping,
        lambda: harness.registry.find(name),
        lambda: harness.registry.push(name),
        lambda: harness.registry.delete(name),
        lambda: harness.registry.read_note("one"),
        lambda: harness.registry.write_note("one", b"1"),
        harness.registry.notes,
    ):
        with pytest.raises(ImagesUnavailable):
            await ask()
    await harness.remove(name)
    with pytest.raises(ImagesUnavailable):
        await harness.registry.pull(remote, name, lambda _: None)
    assert not await harness.is_here(name)


async def test_close_is_idempotent(harness: Harness) -> None:
    """Closing twice is closing once."""
    await harness.registry.close()
    await harness.registry.close()
