"""Publishes the launch archive, and counts launches for the pages."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable
from pathlib import Path

import structlog

from binderlet.clients.s3 import S3Bucket
from binderlet.config import Settings
from binderlet.config.registry import S3Settings
from binderlet.dashboard.importing import import_archive
from binderlet.dashboard.own import sum_up
from binderlet.dashboard.store import BEAT, StatisticsStore
from binderlet.errors import BinderletError
from binderlet.events.archive_publish import FolderTarget, Publisher, Target
from binderlet.model import Check
from binderlet.tasks import Tasks

log = structlog.get_logger(__name__)

STORE = "statistics.sqlite"
PUBLIC = Path("archive") / "public"


class Counting:
    """The archive's publisher and the statistics of one service; ``start`` once."""

    def __init__(
        self, state: Path, settings: Settings, *, is_well: Callable[[], bool], ca_bundle: Path | None = None
    ) -> None:
        self._is_well = is_well
        self._settings = settings
        self._history = state / "history.sqlite"
        self._public = state / PUBLIC
        self._store = StatisticsStore(state / STORE)
        self._publishes = settings.events.archive and settings.archive.publish
        self.publisher = Publisher(
            state / "archive", self._public, targets_of(settings, ca_bundle), every=settings.archive.every
        )

    @property
    def shown(self) -> StatisticsStore | None:
        """What the pages show; None where they are switched off."""
        return self._store if self._settings.statistics.pages else None

    @property
    def served(self) -> Path | None:
        """The folder that ``/archive/`` answers from; None where it does not."""
        return self._public if self._publishes and self._settings.archive.serve else None

    def start(self, tasks: Tasks) -> None:
        """Publish and count from now on."""
        if self._publishes:
            tasks.start(self.publisher.run(), name="publish archive")
        # Also where nobody may see the pages: reports are made of it.
        tasks.start(self._count(), name="statistics")
        tasks.start(self._beat(), name="heartbeat")

    def checks(self) -> tuple[Check, ...]:
        """Give what ``/health`` says of it, from memory."""
        return (self.publisher.check(),) if self._publishes else ()

    async def _beat(self) -> None:
        """Note that the service runs, in the middle of each slot, so that none is left out."""
        while True:
            with contextlib.suppress(BinderletError):  # what does not let this be written is told by the counting
                await asyncio.to_thread(self._store.beat, time.time(), ok=self._is_well())
            await asyncio.sleep(BEAT - (time.time() - BEAT / 2) % BEAT)

    async def _count(self) -> None:
        is_failing = False
        while True:
            try:
                await self.count()
                is_failing = False
            except BinderletError as error:
                if not is_failing:
                    log.warning("launches are not counted; will try again", error=str(error), hint=error.hint)
                is_failing = True
            await asyncio.sleep(self._settings.statistics.every)

    async def count(self) -> None:
        """Count what is new: the launches that are public, and what this service's history has.

        Raises:
            StoreUnavailable: the history cannot be read, or the statistics not be written.
            ArchiveUnavailable: a file of the archive cannot be read.
        """
        known = await asyncio.to_thread(self._store.own_days)
        own = await asyncio.to_thread(sum_up, self._history, known, time.time())
        await asyncio.to_thread(self._store.put_own, own)
        if await asyncio.to_thread(has_events, self._public):
            await import_archive(
                str(self._public), self._store, tell=lambda _: None, member=self._settings.archive.origin
            )


def has_events(folder: Path) -> bool:
    """Whether there is anything to count."""
    return next(folder.glob("events-*.jsonl"), None) is not None


class BucketTarget:
    """Public files in a bucket, below a folder of it."""

    def __init__(self, settings: S3Settings, *, ca_bundle: Path | None) -> None:
        self._bucket = S3Bucket(settings, ca_bundle=ca_bundle)
        self._folder = f"{settings.folder}/" if settings.folder else ""
        self.name = f"{settings.endpoint}{settings.bucket}/{self._folder}"
        """Where they are."""

    async def put(self, name: str, body: bytes, content_type: str) -> None:
        """Replace a file as a whole."""
        await self._bucket.put(self._folder + name, body, content_type=content_type)


def targets_of(settings: Settings, ca_bundle: Path | None = None) -> list[Target]:
    """Give where public files are copied to."""
    found: list[Target] = []
    if settings.archive.folder:
        found.append(FolderTarget(Path(settings.archive.folder)))
    if settings.archive.s3.endpoint:
        found.append(BucketTarget(settings.archive.s3, ca_bundle=ca_bundle))
    return found
