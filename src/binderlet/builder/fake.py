"""A builder that builds nothing, for trying things out and for tests; it passes the same contract as the real one."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Sequence

from binderlet.builder.base import BuildRequest
from binderlet.builder.detect import detect
from binderlet.builder.plan import make_plan
from binderlet.errors import BinderletError
from binderlet.events.buildlog import BuildLog
from binderlet.model import Image

PYTHON = "3.11"


class FakeBuilder:
    """Reads the checkout as the real one does, prints ``lines``, and ends well unless ``error`` is set.

    While ``gate`` is not set builds wait at it; ``on_built`` is told each image, as an image store would want to be.
    """

    def __init__(
        self, lines: Sequence[str] = ("Building...",), *, on_built: Callable[[Image], None] | None = None
    ) -> None:
        self.lines = lines
        self.error: BinderletError | None = None
        self.gate = asyncio.Event()
        self.gate.set()
        self.requests: list[BuildRequest] = []
        self.ended_early: list[BuildRequest] = []
        """Builds that were cancelled."""
        self.outdated: set[str] = set()
        """Ids of images that are on an old base image."""
        self._on_built = on_built
        self._images: dict[str, Image] = {}

    @property
    def info(self) -> dict[str, str]:
        """What ``/versions`` reports as ``builder_info``."""
        return {"builder": "fake"}

    def is_outdated(self, image: Image) -> bool:
        """See ``Builder``."""
        return image.id in self.outdated

    async def prepare(self, log: BuildLog) -> None:
        """See ``Builder``; there is nothing to prepare."""

    async def build(self, request: BuildRequest, log: BuildLog) -> Image:
        """See ``Builder``."""
        if not request.refresh and (built := self._images.get(request.image)) is not None:
            return built
        self.requests.append(request)
        plan = make_plan(await asyncio.to_thread(detect, request.checkout), PYTHON)
        for line in (*plan.reasons, *self.lines):
            log.write(line)
        try:
            await self.gate.wait()
        except asyncio.CancelledError:
            self.ended_early.append(request)
            raise
        if self.error is not None:
            raise self.error
        digest = hashlib.sha256(f"{request.image}{'again' if request.refresh else ''}".encode()).hexdigest()
        labels = {"repo2docker.repo": request.commit.repo_url, "repo2docker.ref": request.commit.sha}
        image = Image(request.image, f"sha256:{digest}", labels=labels)
        self._images[request.image] = image
        if self._on_built is not None:
            self._on_built(image)
        return image

    async def close(self) -> None:
        """See ``Builder``; there is nothing to give back."""
