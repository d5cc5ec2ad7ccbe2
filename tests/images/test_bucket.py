"""Garbage collection in the bucket of a real registry on a real S3 server, while somebody pushes."""

from __future__ import annotations

import asyncio
import json
import secrets
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from binderlet.clients.oci import OCI_MANIFEST, OciClient
from binderlet.clients.s3 import S3Bucket
from binderlet.config.bucket import BucketSettings
from binderlet.errors import BinderletError, NotFound, StorageRefused
from binderlet.images import bucket as keeping
from binderlet.images.bucket import RULE, BucketKeeper
from binderlet.images.sweep import Contents
from binderlet.tasks import Tasks
from support.eventually import eventually
from support.registry_server import client_of, docker_registry
from support.s3_server import S3Server

DAY = 86400.0
SETTINGS = BucketSettings(grace=DAY, settle=3600)
NAME = "b/i-x"

pytestmark = pytest.mark.timeout(180)  # the first test waits for the storage server


@dataclass
class World:
    """A registry, its bucket, and a clock that can be moved on."""

    client: OciClient
    bucket: S3Bucket
    keeper: BucketKeeper
    ahead: list[float] = field(default_factory=lambda: [0.0])

    async def push(self, tag: str, *layers: bytes) -> str:
        """Push an image and give its manifest's digest."""
        return await self.tag(tag, *[await self.client.put_blob(NAME, body) for body in (b"{}", *layers)])

    async def tag(self, tag: str, *digests: str) -> str:
        """Push a manifest of blobs, the configuration first."""
        config, *layers = [{"mediaType": "application/octet-stream", "digest": each, "size": 1} for each in digests]
        body = {"schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": config, "layers": layers}
        return await self.client.put_manifest(NAME, tag, json.dumps(body).encode())

    async def look(self, later: float = 0.0) -> None:
        """Do a round, so much later."""
        self.ahead[0] += later
        await self.keeper.look()


@pytest.fixture
async def world(s3: S3Server, tmp_path: Path) -> AsyncIterator[World]:
    """All of it, on a fresh bucket."""
    settings = s3.settings(s3.make_bucket())
    async with docker_registry(s3, settings) as process:
        bucket, ahead, client = S3Bucket(settings, ca_bundle=s3.ca_bundle), [0.0], client_of(process)
        file = tmp_path / "bucket.json"
        keeper = BucketKeeper(bucket, settings.folder, SETTINGS, file, clock=lambda: time.time() + ahead[0])
        yield World(client, bucket, keeper, ahead)
        await client.close()


async def test_garbage_goes_and_the_rest_stays(world: World) -> None:
    """Layers of a deleted image go in two rounds; those that another image has stay, and it can be pulled."""
    shared, mine, other = (secrets.token_bytes(5000) for _ in range(3))
    gone = await world.push("gone", shared, mine)
    await world.push("kept", shared, other)
    await world.client.delete_manifest(NAME, gone)
    await world.look()
    assert world.keeper.sums.freed == 0, "it is young"
    await world.look(2 * DAY)
    assert world.keeper.sums.freed == 0, "it is only hidden"
    before = world.keeper.sums.size
    await world.look(2 * 3600)
    assert world.keeper.sums.freed >= 5000
    assert world.keeper.sums.size == before - world.keeper.sums.freed
    kept = await world.client.manifest(NAME, "kept")
    assert kept is not None
    for layer in kept.data["layers"]:
        assert len(await world.client.blob(NAME, layer["digest"])) == 5000
    assert await world.client.manifest(NAME, "gone") is None


async def test_a_bucket_over_its_budget(world: World) -> None:
    """Where the bucket holds more than it may, images are removed before garbage is looked for."""
    await world.push("1", secrets.token_bytes(5000))
    asked: list[int] = []

    async def retire(contents: Contents, *_: object) -> None:
        asked.append(contents.size)

    world.keeper._retire = retire
    await world.look()
    assert asked == [], "there is no budget"
    world.keeper._settings = SETTINGS.model_copy(update={"budget": 5000})
    await world.look()
    assert asked[0] > 5000


async def test_a_push_between_the_phases(world: World) -> None:
    """After the first phase no manifest with a hidden layer is taken: a push sends it again, and it stays."""
    layer = secrets.token_bytes(5000)
    first = await world.push("1", layer)
    await world.client.delete_manifest(NAME, first)
    config, digest = await world.client.put_blob(NAME, b"{}"), await world.client.put_blob(NAME, layer)
    await world.look(2 * DAY)
    with pytest.raises(BinderletError):
        await world.tag("2", config, digest)
    await world.push("2", layer)
    await world.look(2 * 3600)
    assert await world.client.blob(NAME, digest) == layer
    assert await world.client.manifest(NAME, "2") is not None


async def test_links_that_are_missing_are_written_again(world: World) -> None:
    """A manifest that came at the very moment in which its layer was hidden is whole again after the next round."""
    layer = secrets.token_bytes(5000)
    await world.push("1", layer)
    digest = await world.client.put_blob(NAME, layer)
    link = [each.key async for each in world.bucket.objects() if digest[7:] in each.key and "_layers" in each.key]
    await world.bucket.delete(*link)
    with pytest.raises(BinderletError):
        await world.client.blob(NAME, digest)
    await world.look(2 * DAY)
    assert await world.client.blob(NAME, digest) == layer


async def test_a_manifest_that_cannot_be_read_stops_the_round(world: World) -> None:
    """Where nobody knows what a manifest needs, nothing goes."""
    await world.push("1", b"layer")
    keys = [each.key async for each in world.bucket.objects() if each.key.endswith("/data")]
    bodies = {key: await world.bucket.get(key) for key in keys}
    (manifest,) = [key for key, body in bodies.items() if b"schemaVersion" in body]
    await world.bucket.put(manifest, b"\xff")
    with pytest.raises(BinderletError, match="cannot be read"):
        await world.look(2 * DAY)


async def test_what_goes_or_comes_meanwhile(world: World) -> None:
    """A blob that is gone by then is no error, and one that was sent again since the listing stays."""
    assert await world.keeper._delete_if_old("images/never", DAY) == 0
    await world.bucket.put("images/young", b"x")
    assert await world.keeper._delete_if_old("images/young", DAY) == 0
    assert await world.bucket.get("images/young") == b"x"


async def test_a_tag_that_goes_meanwhile(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A tag that was listed and is gone when it is read is no error; its manifest is young, so its layers stay."""
    layer = secrets.token_bytes(5000)
    await world.push("1", layer)
    read = world.bucket.get

    async def get(key: str) -> bytes:
        if "/tags/" in key:
            raise NotFound("It is gone.")
        return await read(key)

    monkeypatch.setattr(world.bucket, "get", get)
    await world.look()
    assert await world.client.blob(NAME, await world.client.put_blob(NAME, layer)) == layer


async def test_rule_for_unfinished_uploads(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The rule is added beside others, once; a storage that refuses it is no error."""
    assert await world.keeper.ensure_rule()
    rules = await world.bucket.lifecycle()
    assert [rule["ID"] for rule in rules if "AbortIncompleteMultipartUpload" in rule] == [RULE]
    assert await world.keeper.ensure_rule()
    assert len(await world.bucket.lifecycle()) == len(rules)

    async def refuse() -> list[dict[str, str]]:
        raise StorageRefused("no")

    monkeypatch.setattr(world.bucket, "lifecycle", refuse)
    assert not await world.keeper.ensure_rule()


class Empty:
    """A bucket that fails at first."""

    def __init__(self) -> None:
        self.looks = 0

    async def objects(self, _prefix: str = "") -> AsyncIterator[object]:
        """Give nothing, or fail."""
        self.looks += 1
        if self.looks < 2:
            raise StorageRefused("The key has expired.")
        nothing: list[object] = []
        for each in nothing:
            yield each

    async def delete(self, *keys: str) -> None:
        """Have nothing to remove."""
        assert not keys

    async def lifecycle(self) -> list[dict[str, str]]:
        """Know no rules."""
        raise NotFound("no")


async def test_the_loop_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What fails is said and tried again; what was remembered and cannot be read is forgotten."""
    monkeypatch.setattr(keeping, "FIRST", 0.0)
    (tmp_path / "file.json").write_text("[]")
    empty = Empty()
    keeper = BucketKeeper(empty, "images", BucketSettings(every=0.05), tmp_path / "file.json")  # type: ignore[arg-type]  # gives nothing
    async with Tasks("test") as tasks:
        tasks.start(keeper.run(), name="run")
        await eventually(lambda: keeper.sums.problem == "The key has expired.", seconds=15)
        await eventually(lambda: empty.looks > 2 and not keeper.sums.problem, seconds=15)
    assert await asyncio.to_thread((tmp_path / "file.json").read_text) == "{}"
