"""What every image store does; the fake passes the same tests as the engine's own store."""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass

import pytest

from binderlet.clients.docker import DockerClient, _connect, open_docker
from binderlet.config.schema import EngineSettings
from binderlet.errors import EngineUnavailable
from binderlet.images.base import ImageStore
from binderlet.images.fake import FakeImages
from binderlet.images.local import LocalImages
from binderlet.model import Image
from support.engines import EngineApi, docker_socket, tiny_image


@dataclass
class Harness:
    """A store, and ways to change what is in it behind its back."""

    store: ImageStore
    add: Callable[[str], None]
    use: Callable[[str], None]
    break_off: Callable[[], Awaitable[None]]


@pytest.fixture(params=["fake", pytest.param("docker", marks=pytest.mark.docker)])
async def harness(request: pytest.FixtureRequest) -> AsyncIterator[Harness]:
    """Give each implementation in turn."""
    if request.param == "fake":
        yield _fake()
        return
    api = EngineApi(docker_socket())
    tiny_image(api)
    dead = DockerClient(_connect("unix:///nonexistent/docker.sock"), socket="", product="Docker", version="")
    async with await open_docker(EngineSettings()) as client, dead:
        store = LocalImages(client)

        async def break_off() -> None:
            store._docker = dead

        with contextlib.ExitStack() as cleanup:
            yield Harness(
                store,
                add=lambda name: _tag(api, name, cleanup),
                use=lambda name: _run(api, name, cleanup),
                break_off=break_off,
            )
        await store.close()


def _fake() -> Harness:
    store = FakeImages()

    def add(name: str) -> None:
        store.images[name] = Image(name, "sha256:0")

    async def break_off() -> None:
        store.is_down = True

    return Harness(store, add, store.in_use.add, break_off)


def _tag(api: EngineApi, name: str, cleanup: contextlib.ExitStack) -> None:
    """Make an image of that name which is an image of its own, so that removing it is not only taking off a name."""
    repository, _, tag = name.partition(":")
    container = api.call("POST", "containers/create", {"Image": "binderlet-test/tiny:1", "Cmd": ["sleep", "60"]})["Id"]
    api.call("POST", "commit", {"Cmd": ["sleep", "60"]}, container=container, repo=repository, tag=tag)
    api.call("DELETE", f"containers/{container}", force="1")
    cleanup.callback(_quietly, api, f"images/{name}")


def _run(api: EngineApi, name: str, cleanup: contextlib.ExitStack) -> None:
    container = api.call("POST", "containers/create", {"Image": name})["Id"]
    api.call("POST", f"containers/{container}/start")
    cleanup.callback(_quietly, api, f"containers/{container}")


def _quietly(api: EngineApi, path: str) -> None:
    with contextlib.suppress(OSError):
        api.call("DELETE", path, force="1")


@pytest.fixture
def name() -> str:
    """Give a name that no other test has."""
    return f"binderlet-test/images-{secrets.token_hex(4)}:1"


async def test_finds_what_is_there(harness: Harness, name: str) -> None:
    """An image is found by its name, with the engine's id."""
    harness.add(name)
    found = await harness.store.find(name)
    assert found is not None
    assert found.name == name
    assert found.id.startswith("sha256:")


async def test_missing_is_none(harness: Harness, name: str) -> None:
    """What is not there is not found, before and after a refresh."""
    assert await harness.store.find(name) is None
    await harness.store.refresh()
    assert await harness.store.find(name) is None


async def test_new_images_are_found_after_a_refresh(harness: Harness, name: str) -> None:
    """An image that came from elsewhere is found when the store is read anew."""
    assert await harness.store.find(name) is None
    harness.add(name)
    await harness.store.refresh()
    assert await harness.store.find(name) is not None


async def test_removed_images_are_gone(harness: Harness, name: str) -> None:
    """A removed image is not found, and removing it again does nothing."""
    harness.add(name)
    assert await harness.store.find(name) is not None
    await harness.store.remove(name)
    assert await harness.store.find(name) is None
    await harness.store.remove(name)


async def test_images_in_use_stay(harness: Harness, name: str) -> None:
    """An image that a container runs is not removed and is still found."""
    harness.add(name)
    harness.use(name)
    await harness.store.remove(name)
    await harness.store.refresh()
    assert await harness.store.find(name) is not None


async def test_no_answer_is_never_missing(harness: Harness, name: str) -> None:
    """When the engine does not answer, no image counts as missing and nothing as removed."""
    await harness.break_off()
    with pytest.raises(EngineUnavailable):
        await harness.store.find(name)
    with pytest.raises(EngineUnavailable):
        await harness.store.refresh()
    with pytest.raises(EngineUnavailable):
        await harness.store.remove(name)


async def test_close_is_idempotent(harness: Harness) -> None:
    """Closing twice is closing once."""
    await harness.store.close()
    await harness.store.close()
