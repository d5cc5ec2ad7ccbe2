"""Makes backups as the settings say: where, with which key, how often, how many stay."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

import structlog

from binderlet.clients.age import Key
from binderlet.clients.s3 import S3Bucket
from binderlet.config.dump import as_toml
from binderlet.config.schema import Settings
from binderlet.deploy.backup import make_backup
from binderlet.deploy.backup_places import BucketPlace, FolderPlace, Place, keep_newest
from binderlet.errors import BinderletError, ConfigError

log = structlog.get_logger(__name__)

BUCKET = "bucket"
RETRY = 900.0
"""Seconds until a backup that failed is tried again, and between looks for those that others make."""


@dataclass(frozen=True, slots=True)
class Made:
    """One backup, and what went for it."""

    name: str
    size: int
    """Bytes."""
    removed: tuple[str, ...]


def backup_place(settings: Settings, to: str = "", ca_bundle: Path | None = None) -> Place:
    """Give where backups are; ``to`` counts more than the setting.

    Raises:
        ConfigError: no place is named, or there is no bucket.
    """
    where = to or settings.backup.to
    if not where:
        raise ConfigError("backup.to: no place for backups is named.", hint="Set it, or give --to.")
    if where != BUCKET:
        return FolderPlace(Path(where))
    if not settings.registry.s3.endpoint:
        raise ConfigError("backup.to: it is 'bucket', but registry.s3 names none.", hint="Set registry.s3.endpoint.")
    return BucketPlace(S3Bucket(settings.registry.s3, ca_bundle=ca_bundle))


def configured_key(settings: Settings) -> Key:
    """Give what the settings encrypt with; it is false where they have nothing."""
    return Key(passphrase=settings.backup.passphrase.get_secret_value(), recipients=tuple(settings.backup.recipients))


async def run_backup(settings: Settings, place: Place, key: Key, now: float) -> Made:
    """Make one backup, put it into its place, and remove those that are too old.

    Raises:
        BinderletError: it could not be made or put there; the older ones stay.
    """
    service = settings.server.instance
    state = await asyncio.to_thread(settings.paths.state.absolute)
    folder = Path(await asyncio.to_thread(tempfile.mkdtemp, prefix="binderlet-backup-"))
    try:
        path = await asyncio.to_thread(make_backup, state, as_toml(settings), folder, key, service=service, at=now)
        size = (await asyncio.to_thread(path.stat)).st_size
        await place.put(path)
    finally:
        await asyncio.to_thread(shutil.rmtree, folder)
    return Made(path.name, size, tuple(await keep_newest(place, service, settings.backup.keep)))


class Schedule:
    """Makes one every ``backup.every`` seconds; ``run`` is its loop.

    The times are those of the place, so that a restart neither forgets nor repeats one.
    """

    def __init__(
        self,
        settings: Settings,
        place: Place,
        *,
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._settings = settings
        self._place = place
        self._clock = clock
        self._sleep = sleep
        self.last_at = 0.0
        """When the newest one was made, as far as is known; seconds since the epoch."""
        self.problem = ""
        """Why the last try failed; empty when it did not."""

    async def run(self) -> None:
        """Make backups until cancelled; what fails is logged and tried again."""
        while True:
            await self._sleep(await self.look())

    async def watch(self) -> None:
        """Only look, until cancelled: something else makes them."""
        while True:
            try:
                await self.left()
                self.problem = ""
            except BinderletError as error:
                self.problem = error.message
            await self._sleep(RETRY)

    async def left(self) -> float:
        """Look at what is there, and give the seconds until the next one is due; negative or 0 where it is.

        Raises:
            BinderletError: the place does not answer.
        """
        mine = [one.made_at for one in await self._place.all() if one.service == self._settings.server.instance]
        self.last_at = max(mine, default=0.0)
        return self.last_at + self._settings.backup.every - self._clock()

    async def look(self) -> float:
        """Make one where it is time; gives the seconds until the next look."""
        try:
            if (left := await self.left()) > 0:
                return left
            now = self._clock()
            made = await run_backup(self._settings, self._place, configured_key(self._settings), now)
        except BinderletError as error:
            self.problem = error.message
            log.warning("no backup could be made", error=error.message, hint=error.hint)
            return min(RETRY, self._settings.backup.every)
        self.problem, self.last_at = "", now
        log.info("backup made", name=made.name, size=made.size, removed=list(made.removed))
        return self._settings.backup.every
