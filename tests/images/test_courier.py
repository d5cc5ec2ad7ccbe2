"""Images of the real engine, taken to a real registry."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from binderlet.clients.docker import open_docker
from binderlet.config.schema import EngineSettings
from binderlet.errors import ImageMissing
from binderlet.images.courier import client_of, open_courier
from binderlet.images.shelf import Shelf
from support.engines import TINY_IMAGE, EngineApi, docker_socket, tiny_image
from support.plain_registry import plain_registry


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[str]:
    """A registry, and an image in the engine."""
    tiny_image(EngineApi(docker_socket()))
    with plain_registry(tmp_path / "registry") as host:
        yield host


@pytest.mark.docker
async def test_pushes(registry: str, tmp_path: Path) -> None:
    """An image with the registry's name keeps it; another gets the folder."""
    shelf = Shelf(registry, "nodes:5000", "binder/", is_plain=True)
    named = f"nodes:5000/{TINY_IMAGE}"
    async with await open_docker(EngineSettings()) as docker, open_courier(shelf, docker, tmp_path) as courier:
        assert await courier.push(TINY_IMAGE) == f"nodes:5000/binder/{TINY_IMAGE}"
        repository, _, tag = named.rpartition(":")
        await docker.call("POST", f"images/{TINY_IMAGE}/tag", params={"repo": repository, "tag": tag})
        try:
            assert await courier.push(named) == named
        finally:
            await docker.call("DELETE", f"images/{named}")
        with pytest.raises(ImageMissing):
            await courier.push("binderlet-test/none:1")
    client = client_of(shelf, None)
    name, _, tag = TINY_IMAGE.rpartition(":")
    assert await client.manifest(f"binder/{name}", tag) is not None
    assert await client.manifest(name, tag) is not None
    await client.close()


def test_client_of() -> None:
    """A registry is asked by TLS unless it speaks none."""
    assert client_of(Shelf("r:1", "r:1"), None).url == "https://r:1/"
    assert client_of(Shelf("r:1", "r:1", is_plain=True), None).url == "http://r:1/"
