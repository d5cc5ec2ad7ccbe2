"""A registry behind the gate: the engine moves the layers, this process looks at manifests."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import AsyncGenerator, Callable, Mapping
from typing import Any
from urllib.parse import quote

from aiodocker.exceptions import DockerError

from binderlet.clients.docker import FOREIGN_ERRORS, DockerClient, engine_errors, translate
from binderlet.clients.oci import FULL, INDEXES, REFUSED, Manifest, OciClient
from binderlet.errors import (
    BinderletError,
    EngineUnavailable,
    ImageMissing,
    ImageRejected,
    ImagesUnavailable,
    StorageFull,
    StorageRefused,
)
from binderlet.images.registry.base import Layer, Progress, Remote, Tell
from binderlet.images.registry.gate import Gate
from binderlet.images.shelf import host_of
from binderlet.model import Image

NOTES = "binderlet/notes"
"""The repository of the documents; each is an OCI artifact whose tag is its name."""
STUCK = 12.0
"""Seconds in which the engine may try again and again; what it does by itself after that takes minutes."""
NOTE_TYPE = "application/vnd.binderlet.note+json"
EMPTY = b"{}"
WRONG = ("verification failed", "digest mismatch", "does not match digest", "digest did not match")
"""What the engine says of bytes that are not those of their digest."""


class OciRegistry:
    """Implements ``Registry``: ``key`` is the registry's name at the gate, ``folder`` goes before repositories."""

    def __init__(
        self,
        client: OciClient,
        docker: DockerClient,
        gate: Gate,
        key: str,
        *,
        folder: str = "",
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._clock = clock
        self._client = client
        self._docker = docker
        self._gate = gate
        self._key = key
        self._folder = folder

    async def ping(self) -> str:
        """See ``Registry``; asks for a manifest, because a registry says 200 to a ping when its storage is gone."""
        await self._client.manifest(self._folder + NOTES, "ping")
        return f"{self._client.host} answers"

    async def find(self, name: str) -> Remote | None:
        """See ``Registry``."""
        repository, tag = self._there(name)
        manifest = await self._client.manifest(repository, tag)
        if manifest is not None and manifest.media_type in INDEXES:
            manifest = await self._client.manifest(repository, _of_this_platform(manifest))
        return None if manifest is None else await self._remote(name, repository, manifest)

    async def push(self, name: str) -> Remote:
        """See ``Registry``."""
        repository, tag = split(name)
        reference = f"{self._gate.address}/{self._key}/{repository}"
        with engine_errors():
            await self._docker.call("POST", f"images/{quote(name)}/tag", params={"repo": reference, "tag": tag})
        try:
            await self._watch(f"images/{quote(reference)}/push", {"tag": tag, "tlsVerify": "false"})
        finally:
            await self._untag(f"{reference}:{tag}")
        remote = await self.find(name)
        if remote is None:
            raise ImagesUnavailable(f"The registry {self._client.host} lost {name} as soon as it was pushed.")
        return remote

    async def pull(self, remote: Remote, name: str, tell: Tell) -> Image:
        """See ``Registry``."""
        reference = f"{self._gate.address}/{self._key}/{split(remote.name)[0]}"
        parameters = {"fromImage": reference, "tag": remote.digest, "tlsVerify": "false"}
        await self._watch("images/create", parameters, tell)
        repository, tag = split(name)
        by_digest = f"{reference}@{remote.digest}"
        try:
            with engine_errors():
                found = await self._docker.call("GET", f"images/{quote(by_digest)}/json")
                await self._docker.call("POST", f"images/{found['Id']}/tag", params={"repo": repository, "tag": tag})
        finally:
            await self._untag(by_digest)
        return Image(name, found["Id"], found["Size"], found["Config"].get("Labels") or {})

    async def delete(self, name: str) -> None:
        """See ``Registry``."""
        repository, tag = self._there(name)
        manifest = await self._client.manifest(repository, tag)
        if manifest is not None:
            await self._client.delete_manifest(repository, manifest.digest)

    async def read_note(self, name: str) -> bytes | None:
        """See ``Registry``."""
        manifest = await self._client.manifest(self._folder + NOTES, name)
        if manifest is None:
            return None
        return await self._client.blob(self._folder + NOTES, manifest.data["layers"][0]["digest"])

    async def write_note(self, name: str, body: bytes) -> None:
        """See ``Registry``."""
        repository = self._folder + NOTES
        config = await self._client.put_blob(repository, EMPTY)
        layer = await self._client.put_blob(repository, body)
        manifest = {
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": {"mediaType": NOTE_TYPE, "digest": config, "size": len(EMPTY)},
            "layers": [{"mediaType": NOTE_TYPE, "digest": layer, "size": len(body)}],
        }
        await self._client.put_manifest(repository, name, json.dumps(manifest).encode())

    async def notes(self) -> list[str]:
        """See ``Registry``."""
        return await self._client.tags(self._folder + NOTES)

    async def close(self) -> None:
        """See ``Registry``."""
        await self._client.close()

    def _there(self, name: str) -> tuple[str, str]:
        repository, tag = split(name)
        return self._folder + repository, tag

    async def _remote(self, name: str, repository: str, manifest: Manifest) -> Remote:
        try:
            data = manifest.data
            image_id = data["config"]["digest"]
            config = json.loads(await self._client.blob(repository, image_id))
            pairs = zip(config["rootfs"]["diff_ids"], data["layers"], strict=True)
            layers = tuple(Layer(diff_id, int(layer["size"])) for diff_id, layer in pairs)
            labels = (config.get("config") or {}).get("Labels") or {}
        except (KeyError, TypeError, ValueError) as error:
            raise ImageRejected(f"{self._client.host} has something else than an image under {name}.") from error
        created = str(config.get("created", ""))
        return Remote(name, manifest.digest, image_id, layers, labels, created, self._client.host)

    async def _watch(self, path: str, parameters: Mapping[str, str], tell: Tell | None = None) -> None:
        """Let the engine push or pull, and follow it to its end."""
        try:
            await self._follow(path, parameters, tell)
        except ImagesUnavailable as error:
            raise await self._client.explained(error) from error

    async def _follow(self, path: str, parameters: Mapping[str, str], tell: Tell | None) -> None:
        meter = Meter()
        headers = {"X-Registry-Auth": self._gate.login}
        try:
            async with contextlib.aclosing(self._lines(path, parameters, headers)) as lines:
                async for line in lines:
                    if said := line.get("error"):
                        raise error_of(str(said))
                    if meter.retries_for(line, self._clock()) > STUCK:
                        raise ImagesUnavailable(f"The registry {self._client.host} does not answer the engine.")
                    if tell is not None and meter.add(line):
                        tell(meter.progress)
        except DockerError as error:
            raise error_of(error.message) from error
        except FOREIGN_ERRORS as error:
            raise translate(error) from error

    def _lines(
        self, path: str, parameters: Mapping[str, str], headers: Mapping[str, str]
    ) -> AsyncGenerator[dict[str, Any]]:
        return self._docker.stream(path, params=parameters, method="POST", headers=headers)

    async def _untag(self, reference: str) -> None:
        with contextlib.suppress(BinderletError), engine_errors():  # one that stays is taken off by the next start
            await self._docker.call("DELETE", f"images/{quote(reference)}", params={"noprune": "1"})


class Meter:
    """Adds up what the engine says of each layer."""

    def __init__(self) -> None:
        self._layers: dict[str, tuple[int, int]] = {}
        self._stuck_since: float | None = None

    def retries_for(self, line: Mapping[str, Any], now: float) -> float:
        """Give how many seconds ago the engine began to try again with nothing moved since; 0 while all is well."""
        if str(line.get("status", "")).startswith("Retrying in"):
            self._stuck_since = now if self._stuck_since is None else self._stuck_since
        elif line.get("progressDetail"):
            self._stuck_since = None
        return 0.0 if self._stuck_since is None else now - self._stuck_since

    def add(self, line: Mapping[str, Any]) -> bool:
        """Take a line; whether it changed the sum."""
        detail, layer = line.get("progressDetail") or {}, str(line.get("id", ""))
        if line.get("status") == "Downloading" and detail.get("total"):
            self._layers[layer] = int(detail["current"]), int(detail["total"])
            return True
        if line.get("status") in {"Download complete", "Pull complete"} and layer in self._layers:
            total = self._layers[layer][1]
            self._layers[layer] = total, total
            return True
        return False

    @property
    def progress(self) -> Progress:
        """How far it is."""
        return Progress(sum(done for done, _ in self._layers.values()), sum(all_ for _, all_ in self._layers.values()))


def split(name: str) -> tuple[str, str]:
    """Give an image's repository, without a registry's host, and its tag."""
    repository, _, tag = name.rpartition(":")
    host = host_of(repository)
    return (repository.removeprefix(f"{host}/") if host else repository), tag


def error_of(said: str) -> BinderletError:
    """Give our error for what the engine said when a push or pull failed."""
    lower = said.lower()
    if any(words in lower for words in WRONG):
        return ImageRejected(f"An image's bytes are not those of its digest: {said}.")
    if "manifest unknown" in lower or "no such image" in lower or "does not exist" in lower:
        return ImageMissing(f"There is no such image: {said}.")
    if FULL.search(said):
        return StorageFull(f"The registry takes no more: {said}.")
    if REFUSED.search(said) or "denied" in lower or "unauthorized" in lower:
        return StorageRefused(f"The registry refuses: {said}.")
    if "docker.sock" in lower:
        return EngineUnavailable(f"The container engine does not answer: {said}.")
    return ImagesUnavailable(f"The image could not be moved: {said}.")


def _of_this_platform(index: Manifest) -> str:
    """Give the digest of the image for this platform, or of the first where none says so."""
    import platform  # noqa: PLC0415 - rarely needed: what binderlet pushes has no index

    machine = {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())
    entries = index.data["manifests"]
    fitting = [each for each in entries if (each.get("platform") or {}).get("architecture") == machine]
    return str((fitting or entries)[0]["digest"])
