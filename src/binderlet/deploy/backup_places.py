"""Where backups are: a folder, or a bucket."""

from __future__ import annotations

import asyncio
import re
import shutil
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from binderlet.clients.s3 import StoredObject
from binderlet.deploy.backup import SUFFIX
from binderlet.errors import NotFound, StoreUnavailable

FOLDER = "backups/"
"""The bucket's folder of backups."""
NAME = re.compile(r"(?P<service>.+)-\d{8}T\d{6}Z" + re.escape(SUFFIX))


@dataclass(frozen=True, slots=True)
class Found:
    """One backup."""

    name: str
    size: int
    """Bytes."""
    made_at: float
    """Seconds since the epoch, as the place has it."""

    @property
    def service(self) -> str:
        """The instance that it is of."""
        matched = NAME.fullmatch(self.name)
        return matched["service"] if matched else ""


class Place(Protocol):
    """Keeps backups by name."""

    async def put(self, path: Path) -> None:
        """Keep a file under its own name; completely or not at all."""

    async def all(self) -> list[Found]:
        """Give what is kept, the oldest first."""

    async def get(self, name: str, path: Path) -> None:
        """Write one into a file."""

    async def delete(self, name: str) -> None:
        """Remove one. Idempotent."""


class Bucket(Protocol):
    """What is needed of ``clients.s3.S3Bucket``."""

    async def put_file(self, key: str, path: Path) -> None:
        """Store a file."""

    async def get_file(self, key: str, path: Path) -> None:
        """Write an object into a file."""

    async def delete(self, *keys: str) -> None:
        """Remove objects."""

    def objects(self, prefix: str = "") -> AsyncIterator[StoredObject]:
        """Give the objects whose keys begin so."""


class FolderPlace:
    """A folder of this machine, or of another that is mounted here."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    async def put(self, path: Path) -> None:
        """See ``Place``."""

        def put() -> None:
            try:
                self._folder.mkdir(parents=True, exist_ok=True)
                part = self._folder / f".{path.name}.part"
                shutil.copyfile(path, part)
                part.chmod(0o600)
                part.replace(self._folder / path.name)
            except OSError as error:
                raise StoreUnavailable(f"The backup cannot be written to {self._folder}: {error}.") from error

        await asyncio.to_thread(put)

    async def all(self) -> list[Found]:
        """See ``Place``."""

        def look() -> list[Found]:
            paths = [path for path in self._folder.glob(f"*{SUFFIX}") if not path.name.startswith(".")]
            return [Found(path.name, path.stat().st_size, path.stat().st_mtime) for path in paths]

        return sorted(await asyncio.to_thread(look), key=lambda found: found.name)

    async def get(self, name: str, path: Path) -> None:
        """See ``Place``."""

        def get() -> None:
            try:
                shutil.copyfile(self._folder / name, path)
            except OSError as error:
                raise NotFound(f"{self._folder / name} cannot be read: {error.strerror}.") from error

        await asyncio.to_thread(get)

    async def delete(self, name: str) -> None:
        """See ``Place``."""
        await asyncio.to_thread((self._folder / name).unlink, missing_ok=True)


class BucketPlace:
    """The folder ``backups/`` of a bucket."""

    def __init__(self, bucket: Bucket) -> None:
        self._bucket = bucket

    async def put(self, path: Path) -> None:
        """See ``Place``."""
        await self._bucket.put_file(FOLDER + path.name, path)

    async def all(self) -> list[Found]:
        """See ``Place``."""
        found = [
            Found(stored.key.removeprefix(FOLDER), stored.size, stored.modified_at)
            async for stored in self._bucket.objects(FOLDER)
            if stored.key.endswith(SUFFIX)
        ]
        return sorted(found, key=lambda each: each.name)

    async def get(self, name: str, path: Path) -> None:
        """See ``Place``."""
        await self._bucket.get_file(FOLDER + name, path)

    async def delete(self, name: str) -> None:
        """See ``Place``."""
        await self._bucket.delete(FOLDER + name)


async def keep_newest(place: Place, service: str, count: int) -> list[str]:
    """Remove all but the newest backups of a service; gives the names of the removed."""
    mine = [found.name for found in await place.all() if found.service == service]
    old = mine[: max(0, len(mine) - count)]
    for name in old:
        await place.delete(name)
    return old
