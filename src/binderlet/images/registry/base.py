"""The port to a registry of images. ``tests/images/registry/test_contract.py`` runs against each implementation."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from binderlet.model import Image


@dataclass(frozen=True, slots=True)
class Layer:
    """One layer of an image in a registry."""

    diff_id: str
    """The digest of its plain content, the same wherever it is kept."""
    size: int
    """Bytes to be moved."""


@dataclass(frozen=True, slots=True)
class Remote:
    """An image in a registry, as its manifest and configuration say; both checked against their digests."""

    name: str
    """``repository:tag`` there."""
    digest: str
    """Of its manifest."""
    image_id: str
    """The id that the engine gives it."""
    layers: tuple[Layer, ...]
    labels: Mapping[str, str]
    created: str
    """When it was made, as RFC 3339 writes it."""
    source: str
    """The registry's host, for people."""

    @property
    def size(self) -> int:
        """Bytes to be moved where none of its layers is here."""
        return sum(layer.size for layer in self.layers)


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a pull is."""

    done: int
    """Bytes that are here."""
    total: int
    """Bytes of the layers that are being fetched, as far as they are known."""


Tell = Callable[[Progress], None]
"""Is told how far a pull is, now and then; must return at once."""


class Registry(Protocol):
    """Keeps images of this machine's engine elsewhere.

    Besides what they name, all methods raise ``StorageRefused`` where the registry does not take the credentials. No
    error ever means "missing".
    """

    async def ping(self) -> str:
        """Check that it answers and that what is behind it does; gives a few words about it.

        Raises:
            ImagesUnavailable: it does not.
        """

    async def find(self, name: str) -> Remote | None:
        """Give the image of that name, or None where the registry is known not to have it.

        Raises:
            ImagesUnavailable: the registry does not answer.
            ImageRejected: what it sent is not what its digests say.
        """

    async def push(self, name: str) -> Remote:
        """Copy an image of the engine there under the same name, and give what is there then.

        Layers that are there are not sent again, also those of an earlier push that was cut off. Cancelling ends it.

        Raises:
            ImageMissing: the engine does not have it.
            StorageFull: the registry takes no more.
            ImagesUnavailable: the registry does not answer.
            EngineUnavailable: the engine does not answer.
        """

    async def pull(self, remote: Remote, name: str, tell: Tell) -> Image:
        """Copy an image from there into the engine under ``name``; it is there completely or not at all.

        Cancelling ends it.

        Raises:
            ImageRejected: a layer or the manifest is not what its digest says.
            ImageMissing: the registry does not have it any more.
            ImagesUnavailable: the registry does not answer.
            EngineUnavailable: the engine does not answer.
        """

    async def delete(self, name: str) -> None:
        """Remove an image there. Idempotent; its layers go with the registry's next garbage collection.

        Raises:
            ImagesUnavailable: the registry does not answer.
        """

    async def read_note(self, name: str) -> bytes | None:
        """Give a small document that is kept beside the images, or None where there is none of that name.

        Raises:
            ImagesUnavailable: the registry does not answer.
        """

    async def write_note(self, name: str, body: bytes) -> None:
        """Keep a small document beside the images, in place of the one of that name.

        Raises:
            StorageFull: the registry takes no more.
            ImagesUnavailable: the registry does not answer.
        """

    async def notes(self) -> list[str]:
        """Give the names of the documents that are kept.

        Raises:
            ImagesUnavailable: the registry does not answer.
        """

    async def close(self) -> None:
        """Give back connections. Idempotent."""
