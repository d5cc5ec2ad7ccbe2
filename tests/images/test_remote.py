"""Images of a registry, on a real one."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator

import pytest

from binderlet.clients.oci import DOCKER_MANIFEST, INDEXES, OciClient
from binderlet.errors import EngineUnavailable
from binderlet.images.remote import TRUSTED, RemoteImages
from binderlet.model import Image
from support.plain_registry import plain_registry

NAME = "nodes-call-it:5000/binder/i-x:1"


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A registry."""
    with plain_registry(tmp_path_factory.mktemp("registry")) as host:
        yield host


@pytest.fixture
async def client(registry: str) -> AsyncIterator[OciClient]:
    """A client for it."""
    made = OciClient(f"http://{registry}/")
    yield made
    await made.close()


async def put(client: OciClient, repository: str, tag: str, config: object = None) -> str:
    """Have an image; gives its id."""
    body = json.dumps({"config": {"Labels": {"k": "v"}}} if config is None else config).encode()
    image_id = await client.put_blob(repository, body)
    layer = await client.put_blob(repository, b"layer")
    manifest = {
        "schemaVersion": 2,
        "mediaType": DOCKER_MANIFEST,
        "config": {
            "mediaType": "application/vnd.docker.container.image.v1+json",
            "digest": image_id,
            "size": len(body),
        },
        "layers": [
            {"mediaType": "application/vnd.docker.image.rootfs.diff.tar.gzip", "digest": layer, "size": 5},
        ],
    }
    await client.put_manifest(repository, tag, json.dumps(manifest).encode(), DOCKER_MANIFEST)
    return image_id


async def test_find(client: OciClient) -> None:
    """An image is found by the name that nodes use; what is known is not asked for again for a while."""
    now = 0.0
    images = RemoteImages(client, clock=lambda: now)
    assert await images.find(NAME) is None
    image_id = await put(client, "binder/i-x", "1")
    expected = Image(NAME, image_id, 5, {"k": "v"})
    assert await images.find(NAME) == expected
    assert await images.all() == [expected]
    asked = client.requests
    assert await images.find(NAME) == expected
    assert client.requests == asked
    await images.remove(NAME)
    await images.remove(NAME)
    assert await images.find(NAME) is None
    await put(client, "binder/i-x", "1")
    assert await images.find(NAME) == expected
    await client.delete_manifest("binder/i-x", (await client.manifest("binder/i-x", "1")).digest)  # type: ignore[union-attr] # it is there
    assert await images.find(NAME) == expected
    now = TRUSTED + 1
    assert await images.find(NAME) is None
    await images.refresh()
    assert await images.all() == []
    await images.close()


async def test_index(client: OciClient) -> None:
    """An image of several platforms is one; something else under that name is an error, and never missing."""
    image_id = await put(client, "binder/many", "1")
    inner = await client.manifest("binder/many", "1")
    assert inner is not None
    entry = {"mediaType": DOCKER_MANIFEST, "digest": inner.digest, "size": len(inner.body)}
    platform = {"architecture": "amd64", "os": "linux"}
    index = {"schemaVersion": 2, "mediaType": INDEXES[0], "manifests": [{**entry, "platform": platform}]}
    await client.put_manifest("binder/many", "2", json.dumps(index).encode(), INDEXES[0])
    images = RemoteImages(client)
    found = await images.find("h:1/binder/many:2")
    assert found is not None
    assert found.id == image_id
    await put(client, "binder/odd", "1", config=["no image"])
    with pytest.raises(EngineUnavailable, match="something else"):
        await images.find("h:1/binder/odd:1")


async def test_away() -> None:
    """A registry that does not answer is not one without the image."""
    images = RemoteImages(OciClient("http://127.0.0.1:1/"))
    with pytest.raises(EngineUnavailable):
        await images.find(NAME)
    with pytest.raises(EngineUnavailable):
        await images.remove(NAME)
    await images.close()
    await asyncio.sleep(0)
