"""Everything that is kept, measured: what the housekeeper decides by, and the status page shows."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import threading
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol, TypeVar

import psutil
import structlog

from binderlet.config.disk import DiskSettings
from binderlet.errors import StoreUnavailable
from binderlet.events.usage import ImageUse
from binderlet.images.appraise import Claims, appraise
from binderlet.images.files import StateFiles
from binderlet.images.pins import Pins
from binderlet.images.retention import Item, Kind, Volume
from binderlet.images.stock import Stock

log = structlog.get_logger(__name__)

T = TypeVar("T")

ENGINE, STATE = "engine", "state"
ELSEWHERE = 2**62
"""The free bytes of an engine whose disk cannot be seen from here."""
NICE = 19


class EngineStore(Protocol):
    """What is needed of ``images.stock.EngineStock``."""

    @property
    def root(self) -> Path | None:
        """Where the engine keeps its files, where that is here."""

    async def look(self, *, thorough: bool) -> Stock:
        """Read what is there; the build cache only when ``thorough``, as that is slow."""

    async def remove(self, item: Item) -> bool:
        """Remove one; False where it is in use."""

    async def let_go(self) -> None:
        """Have the build cache let go of what was removed."""


@dataclass(frozen=True, slots=True)
class Needs:
    """What the rest of the service needs at the moment."""

    building: Collection[str] = ()
    """Ids of builds that wait or run."""
    fetching: Collection[str] = ()
    """Addresses of the repositories that they read."""
    images: Mapping[str, str] = field(default_factory=dict)
    """Names of images that must stay, each with why."""


@dataclass(frozen=True, slots=True)
class World:
    """What is asked of the rest of the service; all but ``uses`` and ``bases`` answers from memory."""

    needs: Callable[[], Needs]
    uses: Callable[[], Awaitable[Mapping[str, ImageUse]]]
    bases: Callable[[], Awaitable[Collection[str]]]
    """Names of the base images that builds use."""
    is_busy: Callable[[], bool] = lambda: False
    """Whether sessions are being started."""
    clock: Callable[[], float] = time.time
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    free: Callable[[Path], int] = lambda path: shutil.disk_usage(path).free


@dataclass(frozen=True, slots=True)
class Survey:
    """Everything that was there at one look."""

    at: float
    items: tuple[Item, ...]
    volumes: tuple[Volume, ...]

    @property
    def used(self) -> int:
        """Bytes that everything takes, what is shared once."""
        return sum(volume.ours for volume in self.volumes)

    def by_kind(self) -> dict[str, int]:
        """Give the bytes of each kind; what kinds share counts for the one that the others are built on."""
        below = (Kind.BASE, Kind.ENVIRONMENT)
        kinds: Counter[str] = Counter()
        seen: set[str] = set()
        for kind in (*below, *(kind for kind in Kind if kind not in below)):
            for item in self.items:
                if item.kind is kind:
                    fresh = {part.id: part.size for part in item.parts if part.id not in seen}
                    kinds[kind.value] += sum(fresh.values())
                    seen |= fresh.keys()
        return dict(kinds)


class Surveyor:
    """Measures; ``close`` once at the end. ``store`` is None where no engine runs."""

    def __init__(
        self, settings: DiskSettings, files: StateFiles, store: EngineStore | None, world: World, pins: Pins
    ) -> None:
        self._settings = settings
        self._files = files
        self._store = store
        self._world = world
        self._pins = pins
        self._latest: Survey | None = None
        self._uses: Mapping[str, ImageUse] | None = None
        # Of its own, and of low priority: measuring a large folder must hold back nobody.
        self._thread = ThreadPoolExecutor(1, "housekeeper", initializer=be_modest)

    async def close(self) -> None:
        """Let go of the thread. Idempotent."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    async def offload(self, work: Callable[[], T]) -> T:
        """Do blocking work at low priority."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)

    async def measure(self, *, thorough: bool = True) -> Survey:
        """Measure everything that is kept; not ``thorough`` the build cache is taken to be what it was.

        Raises:
            EngineUnavailable: the engine does not answer.
        """
        needs = self._world.needs()
        items = await self.offload(lambda: self._files.look(needs.building, needs.fetching))
        if self._store is not None:
            items += await self._appraised(self._store, needs, thorough=thorough)
        free = await self.offload(self._free)
        if ENGINE not in free:
            items = [replace(item, volume=STATE) for item in items]
        ours: Counter[str] = Counter()
        for size, volume in {part.id: (part.size, item.volume) for item in items for part in item.parts}.values():
            ours[volume] += size
        volumes = tuple(Volume(name, ours[name], bytes_) for name, bytes_ in free.items())
        self._latest = Survey(self._world.clock(), tuple(items), volumes)
        return self._latest

    async def volumes(self) -> tuple[Volume, ...]:
        """Give the file systems as they are now; what has become less since the last survey is taken to be ours."""
        return await self.offload(self.volumes_now)

    def volumes_now(self) -> tuple[Volume, ...]:
        """Do the same, blocking."""
        before = {volume.name: volume for volume in self._latest.volumes} if self._latest else {}
        return tuple(_now(before.get(name, Volume(name, 0, free)), free) for name, free in self._free().items())

    async def _appraised(self, store: EngineStore, needs: Needs, *, thorough: bool) -> list[Item]:
        stock = await store.look(thorough=thorough)
        try:
            self._uses = await self._world.uses()
        except StoreUnavailable as error:
            log.warning("the history cannot be read", error=error.message, hint=error.hint)
        free = min((await self.offload(self._free)).values())
        room = self._settings.budget or free + sum(part.size for parts in stock.parts.values() for part in parts)
        claims = Claims(
            needs.images,
            await self._world.bases(),
            self._settings.keep_popular,
            room // 2,
            is_history_known=self._uses is not None,
        )
        now, half_life, uses = self._world.clock(), self._settings.half_life, self._uses or {}
        return await self.offload(
            lambda: appraise(stock, uses, self._pins.reason, claims, now=now, half_life=half_life)
        )

    def _free(self) -> dict[str, int]:
        """Give the free bytes of each file system, the engine's only where it is another than the state folder's."""
        free = {STATE: self._world.free(self._files.state)}
        if self._store is None:
            return free
        root = self._store.root
        if root is None:
            free[ENGINE] = ELSEWHERE
        elif root.stat().st_dev != self._files.state.stat().st_dev:
            free[ENGINE] = self._world.free(root)
        return free


def _now(before: Volume, free: int) -> Volume:
    return Volume(before.name, max(0, before.ours + before.free - free), free)


def be_modest() -> None:
    """Let this thread have the processor and the disk only when nobody else wants them, where the system allows it."""
    thread = threading.get_native_id()
    with contextlib.suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, thread, NICE)
    with contextlib.suppress(OSError, psutil.Error):
        psutil.Process(thread).ionice(psutil.IOPRIO_CLASS_IDLE)
