"""The port to the machine's own image store. ``tests/images/test_contract.py`` runs against each implementation."""

from __future__ import annotations

from typing import Protocol

from binderlet.model import Image


class ImageStore(Protocol):
    """What images are here, answered from memory and kept true by ``refresh``."""

    async def find(self, name: str) -> Image | None:
        """Give the image of that name, or None where the store is known not to have it.

        Answered from memory once ``refresh`` has run.

        Raises:
            EngineUnavailable: the store could not be asked; that is never "missing".
        """

    async def all(self) -> list[Image]:
        """Give the images that are here, one for each of their names; as ``find``, from memory.

        Raises:
            EngineUnavailable: the store could not be asked.
        """

    async def refresh(self) -> None:
        """Read the store anew.

        Raises:
            EngineUnavailable: it does not answer; what is remembered stays.
        """

    async def remove(self, name: str) -> None:
        """Remove an image. Idempotent; an image in use stays and is still found.

        Raises:
            EngineUnavailable: the store does not answer.
        """

    async def close(self) -> None:
        """Give back connections. Idempotent."""
