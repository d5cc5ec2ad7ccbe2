"""A registry behind the gate: names, what the engine says, and what is not an image. The rest is in the contract."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, AsyncIterator
from pathlib import Path
from typing import Any
from unittest.mock import AsyncMock

import pytest
from aiodocker.exceptions import DockerError

from binderlet.clients.oci import INDEXES, Manifest, OciClient, digest_of
from binderlet.errors import (
    BinderletError,
    EngineUnavailable,
    ImageMissing,
    ImageRejected,
    ImagesUnavailable,
    StorageFull,
    StorageRefused,
)
from binderlet.images.registry.base import Progress
from binderlet.images.registry.gate import Gate
from binderlet.images.registry.oci import Meter, OciRegistry, error_of, split


@pytest.mark.parametrize(
    ("name", "repository", "tag"),
    [
        ("binderlet/i-a:1", "binderlet/i-a", "1"),
        ("registry.example.org/binder/r2d-a:1", "binder/r2d-a", "1"),
        ("localhost/a:1", "a", "1"),
        ("127.0.0.1:5000/a/b:1", "a/b", "1"),
        ("a:1", "a", "1"),
    ],
)
def test_names(name: str, repository: str, tag: str) -> None:
    """A name loses its host: images are named alike wherever they are."""
    assert split(name) == (repository, tag)


@pytest.mark.parametrize(
    ("said", "kind"),
    [
        ("filesystem layer verification failed for digest sha256:1", ImageRejected),
        ("manifest unknown: manifest unknown", ImageMissing),
        ("received unexpected HTTP status: 507 Insufficient Storage", StorageFull),
        ("denied: requested access to the resource is denied", StorageRefused),
        ("dial unix /var/run/docker.sock: connect: no such file", EngineUnavailable),
        ("received unexpected HTTP status: 503 Service Unavailable", ImagesUnavailable),
    ],
)
def test_errors(said: str, kind: type[BinderletError]) -> None:
    """What the engine says of a push or pull is the error that says what to do."""
    assert type(error_of(said)) is kind


def test_meter() -> None:
    """Layers add up, also when they come in any order; what is not downloaded does not count."""
    meter = Meter()
    assert not meter.add({"status": "Pulling fs layer", "id": "a", "progressDetail": {}})
    assert meter.add({"status": "Downloading", "id": "a", "progressDetail": {"current": 10, "total": 100}})
    assert meter.add({"status": "Downloading", "id": "b", "progressDetail": {"current": 5, "total": 50}})
    assert meter.progress == Progress(15, 150)
    assert meter.add({"status": "Download complete", "id": "a"})
    assert not meter.add({"status": "Download complete", "id": "small"})
    assert meter.progress == Progress(105, 150)


def test_retries() -> None:
    """Time counts from the first retry, and begins anew when something moves."""
    meter = Meter()
    assert meter.retries_for({"status": "Downloading", "progressDetail": {"current": 1}}, 5) == 0
    assert meter.retries_for({"status": "Retrying in 5 seconds"}, 10) == 0
    assert meter.retries_for({"status": "Waiting"}, 14) == 4
    assert meter.retries_for({"status": "Downloading", "progressDetail": {"current": 1}}, 15) == 0


class Engine:
    """An engine that says what it is told to."""

    def __init__(self) -> None:
        self.lines: list[dict[str, Any]] = []
        self.error: Exception | None = None
        self.call = AsyncMock(return_value="")

    async def stream(self, *_: object, **__: object) -> AsyncGenerator[dict[str, Any]]:
        """Say it."""
        if self.error is not None:
            raise self.error
        for line in self.lines:
            yield line


class Rig:
    """A registry without either."""

    def __init__(self, folder: Path) -> None:
        self.engine = Engine()
        self.client = OciClient("http://127.0.0.1:1/")
        self.manifests: dict[str, Manifest] = {}
        self.blobs: dict[str, bytes] = {}

        async def manifest(_: str, reference: str) -> Manifest | None:
            return self.manifests.get(reference)

        async def blob(_: str, digest: str) -> bytes:
            return self.blobs[digest]

        self.client.manifest = manifest  # type: ignore[assignment, method-assign]  # a registry in memory
        self.client.blob = blob  # type: ignore[assignment, method-assign]  # the same
        gate = Gate({}, folder / "port", port=7)
        self.registry = OciRegistry(self.client, self.engine, gate, "r")  # type: ignore[arg-type]  # a fake engine

    def store(self, tag: str, media_type: str, **body: object) -> Manifest:
        """Put a manifest there."""
        text = json.dumps(body).encode()
        self.manifests[tag] = self.manifests[digest_of(text)] = Manifest(digest_of(text), media_type, text)
        return self.manifests[tag]

    def image(self, tag: str, architecture: str) -> Manifest:
        """Put an image there."""
        config = json.dumps({"rootfs": {"diff_ids": ["d"]}, "architecture": architecture}).encode()
        self.blobs[digest_of(config)] = config
        layers = [{"digest": "sha256:l", "size": 5}]
        return self.store(tag, "image", config={"digest": digest_of(config)}, layers=layers)


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[Rig]:
    """One of each."""
    made = Rig(tmp_path)
    yield made
    await made.registry.close()


async def test_images_of_many_platforms(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of an image for several platforms the one for this machine is taken; where none says so, the first."""
    monkeypatch.setattr("platform.machine", lambda: "aarch64")
    images = {name: rig.image(name, name) for name in ("amd64", "arm64")}
    entries = [{"digest": image.digest, "platform": {"architecture": name}} for name, image in images.items()]
    rig.store("many", INDEXES[0], manifests=entries)
    found = await rig.registry.find("a:many")
    assert found is not None
    assert found.digest == images["arm64"].digest
    assert (found.size, found.labels) == (5, {})
    rig.store("some", INDEXES[1], manifests=[{"digest": images["amd64"].digest}])
    found = await rig.registry.find("a:some")
    assert found is not None
    assert found.digest == images["amd64"].digest


@pytest.mark.parametrize("body", [{}, {"config": {"digest": "c"}, "layers": [{"size": 1}, {"size": 2}]}])
async def test_what_is_no_image(rig: Rig, body: dict[str, object]) -> None:
    """Something else under an image's name is rejected."""
    rig.blobs["c"] = b'{"rootfs": {"diff_ids": ["one"]}}'
    rig.store("1", "image", **body)
    with pytest.raises(ImageRejected, match="something else"):
        await rig.registry.find("a:1")


async def test_lost_at_once(rig: Rig) -> None:
    """A registry that takes an image and then does not have it is not believed."""
    with pytest.raises(ImagesUnavailable, match="lost"):
        await rig.registry.push("a:1")


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (DockerError(404, "manifest unknown"), ImageMissing),
        (OSError("gone"), EngineUnavailable),
    ],
)
async def test_an_engine_that_fails(rig: Rig, error: Exception, kind: type[BinderletError]) -> None:
    """The engine's refusals are told apart from its not answering."""
    rig.engine.error = error
    with pytest.raises(kind):
        await rig.registry.push("a:1")
    assert rig.engine.call.await_args_list[-1].args[0] == "DELETE", "the name for the push is taken off again"


async def test_an_engine_that_tries_in_vain(rig: Rig) -> None:
    """A push that does nothing but try again is given up; the reason is the storage's where it is known."""
    times = iter(range(0, 1000, 10))
    rig.registry._clock = lambda: float(next(times))
    rig.engine.lines = [{"status": "Retrying in 5 seconds", "id": "a"}] * 9
    with pytest.raises(ImagesUnavailable, match="does not answer the engine"):
        await rig.registry.push("a:1")
    rig.client._reason = lambda: "QuotaExceeded: Full."
    with pytest.raises(StorageFull):
        await rig.registry.push("a:1")
    rig.engine.lines = [{"error": "filesystem layer verification failed"}]
    with pytest.raises(ImageRejected):
        await rig.registry.push("a:1")


async def test_delete_and_notes(rig: Rig) -> None:
    """Removing asks for the digest first; documents are artifacts of one layer."""
    rig.client.delete_manifest = AsyncMock()  # type: ignore[method-assign]  # a registry in memory
    rig.client.put_blob = AsyncMock(side_effect=lambda _, body: digest_of(body))  # type: ignore[method-assign]  # the same
    rig.client.put_manifest = AsyncMock()  # type: ignore[method-assign]  # the same
    rig.client.tags = AsyncMock(return_value=["n"])  # type: ignore[method-assign]  # the same
    await rig.registry.delete("a:1")
    manifest = rig.image("1", "amd64")
    await rig.registry.delete("a:1")
    rig.client.delete_manifest.assert_awaited_once_with("a", manifest.digest)
    assert await rig.registry.read_note("n") is None
    await rig.registry.write_note("n", b"note")
    stored = json.loads(rig.client.put_manifest.await_args_list[0].args[2])
    rig.store("n", "note", **stored)
    rig.blobs[digest_of(b"note")] = b"note"
    assert await rig.registry.read_note("n") == b"note"
    assert await rig.registry.notes() == ["n"]
    assert await rig.registry.ping() == "127.0.0.1:1 answers"
    rig.client._reason = None
    remote = await rig.registry.find("a:1")
    rig.engine.call.side_effect = DockerError(404, "no such image")
    assert remote is not None
    with pytest.raises(BinderletError):
        await rig.registry.pull(remote, "b:1", lambda _: None)


async def test_pushed(rig: Rig) -> None:
    """What the registry has after a push is what counts."""
    rig.image("1", "amd64")
    assert (await rig.registry.push("a:1")).digest == rig.manifests["1"].digest


async def test_progress(rig: Rig) -> None:
    """How far a pull is, is told as the engine says it."""
    rig.image("1", "amd64")
    remote = await rig.registry.find("a:1")
    assert remote is not None
    rig.engine.lines = [{"status": "Downloading", "id": "a", "progressDetail": {"current": 1, "total": 5}}, {"x": 1}]
    rig.engine.call.return_value = {"Id": "sha256:i", "Size": 9, "Config": {}}
    told: list[Progress] = []
    image = await rig.registry.pull(remote, "b:1", told.append)
    assert (image.name, image.id, told) == ("b:1", "sha256:i", [Progress(1, 5)])
