"""An image store in memory."""

from __future__ import annotations

from binderlet.errors import EngineUnavailable
from binderlet.model import Image


class FakeImages:
    """Implements ``ImageStore``; tests put images into ``images`` and names into ``in_use``."""

    def __init__(self, *images: Image) -> None:
        self.images = {image.name: image for image in images}
        self.in_use: set[str] = set()
        self.is_down = False
        """Whether every question is answered with ``EngineUnavailable``."""

    async def find(self, name: str) -> Image | None:
        """See ``ImageStore``."""
        self._check()
        return self.images.get(name)

    async def all(self) -> list[Image]:
        """See ``ImageStore``."""
        self._check()
        return list(self.images.values())

    async def refresh(self) -> None:
        """See ``ImageStore``."""
        self._check()

    async def remove(self, name: str) -> None:
        """See ``ImageStore``."""
        self._check()
        if name not in self.in_use:
            self.images.pop(name, None)

    async def close(self) -> None:
        """See ``ImageStore``."""

    def _check(self) -> None:
        if self.is_down:
            raise EngineUnavailable("The container engine does not answer: it is switched off in this test.")
