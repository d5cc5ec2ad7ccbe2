"""The images of a registry, as the store that sessions start from where nodes fetch them by themselves."""

from __future__ import annotations

import json
import time
from collections.abc import Callable

from binderlet.clients.oci import INDEXES, OciClient
from binderlet.errors import EngineUnavailable, ImageRejected, ImagesUnavailable, StorageRefused
from binderlet.images.registry.oci import split
from binderlet.model import Image

TRUSTED = 300.0
"""Seconds for which what the registry had is taken to be there still; a node that cannot fetch it says so."""


class RemoteImages:
    """Implements ``ImageStore`` on a registry; names have its host. The client is closed with it."""

    def __init__(self, client: OciClient, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._client = client
        self._clock = clock
        self._known: dict[str, tuple[Image, float]] = {}

    async def find(self, name: str) -> Image | None:
        """See ``ImageStore``; what is not known is asked for, as another control plane may have had it built."""
        image, until = self._known.get(name, (None, 0.0))
        if image is None or until < self._clock():
            image = await self._ask(name)
            if image is None:
                self._known.pop(name, None)
            else:
                self._known[name] = image, self._clock() + TRUSTED
        return image

    async def all(self) -> list[Image]:
        """See ``ImageStore``: those that were asked for; a registry has no list that everybody may read."""
        return [image for image, _ in self._known.values()]

    async def refresh(self) -> None:
        """Forget what is known: it is asked for when it is needed."""
        self._known.clear()

    async def remove(self, name: str) -> None:
        """See ``ImageStore``; layers go with the registry's next garbage collection."""
        repository, tag = split(name)
        self._known.pop(name, None)
        try:
            if (manifest := await self._client.manifest(repository, tag)) is not None:
                await self._client.delete_manifest(repository, manifest.digest)
        except (ImagesUnavailable, StorageRefused) as error:
            raise EngineUnavailable(error.message, hint=error.hint) from error

    async def close(self) -> None:
        """See ``ImageStore``."""
        await self._client.close()

    async def _ask(self, name: str) -> Image | None:
        repository, tag = split(name)
        try:
            manifest = await self._client.manifest(repository, tag)
            if manifest is not None and manifest.media_type in INDEXES:
                manifest = await self._client.manifest(repository, manifest.data["manifests"][0]["digest"])
            if manifest is None:
                return None
            image_id = str(manifest.data["config"]["digest"])
            config = json.loads(await self._client.blob(repository, image_id))
            labels = (config.get("config") or {}).get("Labels") or {}
            size = sum(int(layer["size"]) for layer in manifest.data["layers"])
        except (KeyError, TypeError, ValueError, IndexError, AttributeError, ImageRejected) as error:
            raise EngineUnavailable(f"{self._client.host} has something else than an image under {name}.") from error
        except (ImagesUnavailable, StorageRefused) as error:
            raise EngineUnavailable(error.message, hint=error.hint) from error
        return Image(name, image_id, size, labels)
