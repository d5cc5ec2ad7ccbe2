"""What is known of the images that are in the registry: kept on this disk, and beside the images for other machines.

Nothing here is the truth: the registry is. What is lost is found again by asking it.
"""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import structlog

from binderlet.model import known

log = structlog.get_logger(__name__)

HALF_LIFE = 14 * 86400.0
"""Seconds after which a launch counts half."""
UNKNOWN_BUILD = 60.0
"""Seconds that a build is taken to last where none is on record."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One image."""

    name: str
    image_id: str = ""
    """Of what is in the registry; empty where it is not known to be there."""
    digest: str = ""
    size: int = 0
    """Bytes to be moved."""
    stored_at: float = 0.0
    build_seconds: float = 0.0
    """How long its build took; 0 where nobody knows."""
    launches: float = 0.0
    """How often it was launched, each launch counting less as it ages; as of ``launched_at``."""
    launched_at: float = 0.0
    environment: str = ""
    """Name of the environment image that it is built on; empty for all others."""

    def popularity(self, now: float) -> float:
        """Give ``launches`` as of now."""
        return self.launches * math.exp2(-max(0.0, now - self.launched_at) / HALF_LIFE)

    def value(self, now: float) -> float:
        """Give the seconds of building that having it here is expected to save, for each byte it takes."""
        cost = self.build_seconds or UNKNOWN_BUILD
        return (1 + self.popularity(now)) * cost / max(self.size, 2**20)


class Record:
    """Entries by name; ``load`` first, and ``save`` writes what has changed since."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._entries: dict[str, Entry] = {}
        self._saving = asyncio.Lock()
        self._is_dirty = False
        self.is_complete = False
        """Whether the registry's own record has been read: what is not known by then is new."""

    def get(self, name: str) -> Entry:
        """Give what is known of an image; an empty entry where nothing is."""
        return self._entries.get(name, Entry(name))

    def is_stored(self, name: str) -> bool:
        """Whether the registry had it when it was last asked."""
        return bool(self.get(name).image_id)

    def entries(self) -> Iterable[Entry]:
        """Give all entries."""
        return list(self._entries.values())

    def put(self, entry: Entry) -> None:
        """Keep an entry in place of the one of its name."""
        if self._entries.get(entry.name) != entry:
            self._entries[entry.name] = entry
            self._is_dirty = True

    def forget(self, name: str) -> None:
        """Note that the registry does not have it."""
        self.put(replace(self.get(name), image_id="", digest=""))

    def launched(self, name: str, at: float) -> None:
        """Count a launch."""
        entry = self.get(name)
        self.put(replace(entry, launches=entry.popularity(at) + 1, launched_at=at))

    def usual_build(self) -> float:
        """Give the median of the builds on record, in seconds."""
        known = sorted(entry.build_seconds for entry in self._entries.values() if entry.build_seconds)
        return known[len(known) // 2] if known else UNKNOWN_BUILD

    def document(self) -> bytes:
        """Give what other machines should know: the images that are stored."""
        stored = [asdict(entry) for entry in self._entries.values() if entry.image_id]
        return json.dumps({"version": 1, "images": stored}, separators=(",", ":")).encode()

    def merge(self, document: bytes) -> None:
        """Take in what another machine knows; of two entries the one that was launched last counts."""
        for other in _read(document):
            mine = self.get(other.name)
            if not mine.image_id:
                newer = other if other.launched_at > mine.launched_at else mine
                build = mine.build_seconds or other.build_seconds
                self.put(replace(other, launches=newer.launches, launched_at=newer.launched_at, build_seconds=build))

    async def load(self) -> None:
        """Read what an earlier process wrote; where that cannot be read, nothing is known."""
        for entry in _read(await asyncio.to_thread(_bytes, self._path)):
            self._entries[entry.name] = entry

    async def save(self) -> None:
        """Write what has changed; the file is never half written."""
        async with self._saving:
            if not self._is_dirty:
                return
            self._is_dirty = False
            entries = [asdict(entry) for entry in self._entries.values()]
            try:
                await asyncio.to_thread(_write, self._path, entries)
            except OSError as error:
                self._is_dirty = True
                log.warning("the record of pushed images was not written", error=str(error))


def _bytes(path: Path) -> bytes:
    return path.read_bytes() if path.exists() else b""


def _write(path: Path, entries: list[dict[str, Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.part")
    part.write_text(json.dumps({"version": 1, "images": entries}, separators=(",", ":")), encoding="utf-8")
    part.replace(path)


def _read(document: bytes) -> list[Entry]:
    if not document:
        return []
    try:
        images = json.loads(document)["images"]
        return [Entry(**known(Entry, each)) for each in images]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        log.warning("a record of pushed images cannot be read", error=str(error))
        return []
