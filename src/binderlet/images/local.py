"""The container engine's own image store, as an index in memory that the engine's events keep true."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

import structlog
from aiodocker.exceptions import DockerError

from binderlet.clients.docker import FOREIGN_ERRORS, DockerClient, engine_errors, translate
from binderlet.errors import BinderletError, EngineUnavailable, ImageMissing, LaunchFailed
from binderlet.model import Image
from binderlet.tasks import Tasks

log = structlog.get_logger(__name__)

EVENTS = {"type": ["image"], "event": ["delete", "import", "load", "pull", "tag", "untag"]}
SETTLE = 0.05
"""Seconds between an event and the reading that follows it: one build gives several events."""
RETRY = 1.0
"""Seconds until lost events are asked for again."""
CONFLICT = 409


class LocalImages:
    """Implements ``ImageStore``.

    A name that is in the index is answered from memory. One that is not is asked of the engine: that takes
    milliseconds, and a wrong "missing" would cost a build. ``watch`` starts keeping the index true.
    """

    def __init__(self, docker: DockerClient) -> None:
        self._docker = docker
        self._index: dict[str, Image] = {}
        self._is_read = False
        self._reading = asyncio.Lock()
        self._changed = asyncio.Event()
        self._tasks = Tasks("images")

    async def watch(self) -> None:
        """Read the store and follow its events until ``close``.

        Raises:
            EngineUnavailable: it does not answer.
        """
        await self.refresh()
        self._tasks.start(self._follow(), name="follow events")
        self._tasks.start(self._reread(), name="read after events")

    async def find(self, name: str) -> Image | None:
        """See ``ImageStore``."""
        if not self._is_read:
            await self.refresh()
        return self._index.get(name) or await self._look(name)

    async def all(self) -> list[Image]:
        """See ``ImageStore``."""
        if not self._is_read:
            await self.refresh()
        return list(self._index.values())

    async def refresh(self) -> None:
        """See ``ImageStore``."""
        async with self._reading:
            with engine_errors():
                found = await self._docker.call("GET", "images/json")
                self._index = {tag: _image(tag, each) for each in found for tag in each.get("RepoTags") or ()}
            self._is_read = True

    async def remove(self, name: str) -> None:
        """See ``ImageStore``."""
        try:
            await self._docker.call("DELETE", f"images/{quote(name)}")
        except DockerError as error:
            # In use by a session, or other images build on it: it stays.
            if error.status == CONFLICT:
                return
            translated = translate(error)
            if not isinstance(translated, ImageMissing):
                raise translated from error
        except FOREIGN_ERRORS as error:
            raise translate(error) from error
        self._index.pop(name, None)

    async def label(self, image: str, name: str, labels: Mapping[str, str]) -> Image:
        """Give an image without a name, known by its id, a name and more labels; its layers stay as they are.

        Raises:
            BinderletError: the engine cannot, or does not answer.
        """
        with engine_errors():
            await self._docker.relabel(image, name, labels)
        found = await self._look(name)
        if found is None or not labels.items() <= found.labels.items():
            raise LaunchFailed(f"The container engine did not give {name} to the image {image}.")
        self._tasks.start(self.remove(image), name="remove nameless image")
        return found

    async def close(self) -> None:
        """See ``ImageStore``; the client stays open, for others use it, too."""
        await self._tasks.close()

    async def _look(self, name: str) -> Image | None:
        """Ask the engine for one image, and remember it."""
        try:
            with engine_errors():
                found = await self._docker.call("GET", f"images/{quote(name)}/json")
        except ImageMissing:
            return None
        except BinderletError as error:
            raise EngineUnavailable(error.message) from error
        image = Image(name, found["Id"], found["Size"], found["Config"].get("Labels") or {})
        self._index[name] = image
        return image

    async def _follow(self) -> None:
        """Note every event; when the stream ends, open another that starts before the reading of what was missed."""
        while True:
            params = {"filters": json.dumps(EVENTS), "since": str(int(time.time()) - 1)}
            self._changed.set()
            try:
                with engine_errors():
                    async for _ in self._docker.stream("events", params=params):
                        self._changed.set()
            except BinderletError as error:
                log.warning("image events lost", error=str(error))
            await asyncio.sleep(RETRY)

    async def _reread(self) -> None:
        while True:
            await self._changed.wait()
            await asyncio.sleep(SETTLE)
            self._changed.clear()
            try:
                await self.refresh()
            except BinderletError as error:
                log.warning("images not read", error=str(error))


def _image(name: str, listed: Mapping[str, Any]) -> Image:
    return Image(name, listed["Id"], listed["Size"], listed.get("Labels") or {})
