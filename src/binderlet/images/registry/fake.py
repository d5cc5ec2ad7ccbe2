"""A registry in memory."""

from __future__ import annotations

import asyncio

from binderlet.clients.oci import digest_of
from binderlet.errors import BinderletError, ImageMissing, ImagesUnavailable
from binderlet.images.fake import FakeImages
from binderlet.images.registry.base import Layer, Progress, Remote, Tell
from binderlet.model import Image


class FakeRegistry:
    """Implements ``Registry`` for the images of a ``FakeImages``; tests look at and change its fields."""

    def __init__(self, images: FakeImages, source: str = "registry.example.org") -> None:
        self.stored: dict[str, Remote] = {}
        self.documents: dict[str, bytes] = {}
        self.is_down = False
        """Whether every question is answered with ``ImagesUnavailable``."""
        self.error: BinderletError | None = None
        """What every push and pull ends with."""
        self.gate = asyncio.Event()
        """Pushes and pulls wait for it."""
        self.gate.set()
        self.pushed: list[str] = []
        self.pulled: list[str] = []
        self.asked: list[str] = []
        self._images = images
        self._source = source

    def store(self, image: Image, *, size: int = 1000, created: str = "2026-01-01T00:00:00Z") -> Remote:
        """Put an image there as another machine would."""
        layers = (Layer(f"sha256:{image.id}", size),)
        remote = Remote(
            image.name, digest_of(image.id.encode()), image.id, layers, dict(image.labels), created, self._source
        )
        self.stored[image.name] = remote
        return remote

    async def ping(self) -> str:
        """See ``Registry``."""
        self._check()
        return f"{self._source} answers"

    async def find(self, name: str) -> Remote | None:
        """See ``Registry``."""
        self.asked.append(name)
        self._check()
        return self.stored.get(name)

    async def push(self, name: str) -> Remote:
        """See ``Registry``."""
        self._check()
        image = await self._images.find(name)
        if image is None:
            raise ImageMissing(f"The engine has no image {name}.")
        await self._work()
        self.pushed.append(name)
        return self.store(image)

    async def pull(self, remote: Remote, name: str, tell: Tell) -> Image:
        """See ``Registry``."""
        self._check()
        if self.stored.get(remote.name) != remote:
            raise ImageMissing(f"The registry has no image {remote.name} any more.")
        tell(Progress(0, remote.size))
        await self._work()
        self.pulled.append(name)
        image = Image(name, remote.image_id, remote.size, remote.labels)
        self._images.images[name] = image
        tell(Progress(remote.size, remote.size))
        return image

    async def delete(self, name: str) -> None:
        """See ``Registry``."""
        self._check()
        self.stored.pop(name, None)

    async def read_note(self, name: str) -> bytes | None:
        """See ``Registry``."""
        self._check()
        return self.documents.get(name)

    async def write_note(self, name: str, body: bytes) -> None:
        """See ``Registry``."""
        self._check()
        self.documents[name] = body

    async def notes(self) -> list[str]:
        """See ``Registry``."""
        self._check()
        return sorted(self.documents)

    async def close(self) -> None:
        """See ``Registry``."""

    async def _work(self) -> None:
        await self.gate.wait()
        self._check()
        if self.error is not None:
            raise self.error

    def _check(self) -> None:
        if self.is_down:
            raise ImagesUnavailable("The registry does not answer: it is switched off in this test.")
