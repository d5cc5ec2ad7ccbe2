"""A disk, an engine's store and a clock in memory, for tests of the housekeeper."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from binderlet.events.usage import ImageUse
from binderlet.images.retention import Item, Kind, Part
from binderlet.images.stock import Stock, Stored
from binderlet.images.survey import Needs, World

DAY = 86400.0


@dataclass
class FakeStore:
    """An engine's store whose images are all of their own; ``disk`` has the free bytes."""

    disk: FakeDisk
    root: Path | None = None
    images: dict[str, Stored] = field(default_factory=dict)
    in_use: set[str] = field(default_factory=set)
    locked: set[str] = field(default_factory=set)
    """Names that the engine does not let go."""
    leftovers: tuple[Item, ...] = ()
    looks: list[bool] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)
    let_go_count: int = 0
    error: Exception | None = None

    def add(self, name: str, size: int, made_at: float) -> None:
        """Have an image."""
        self.images[name] = Stored(f"sha256:{name}", (name,), Kind.IMAGE, size, made_at)
        self.disk.free -= size

    async def look(self, *, thorough: bool) -> Stock:
        """See ``EngineStore``."""
        self.looks.append(thorough)
        if self.error:
            raise self.error
        parts = {image.id: (Part(image.id, image.size),) for image in self.images.values()}
        return Stock(tuple(self.images.values()), parts, frozenset(self.in_use), self.leftovers)

    async def remove(self, item: Item) -> bool:
        """See ``EngineStore``."""
        if item.name in self.locked:
            return False
        self.removed.append(item.name)
        if item.name in self.images:
            self.disk.free += self.images.pop(item.name).size
        self.leftovers = tuple(each for each in self.leftovers if each.id != item.id)
        return True

    async def let_go(self) -> None:
        """See ``EngineStore``."""
        self.let_go_count += 1


@dataclass
class FakeDisk:
    """How much is free, and what time it is; sleeping lets time pass."""

    free: int
    now: float = 1_795_400_000.0
    slept: list[float] = field(default_factory=list)
    busy: Callable[[], bool] = lambda: False
    needed: Needs = field(default_factory=Needs)
    known: Mapping[str, ImageUse] = field(default_factory=dict)
    bases: Collection[str] = ()
    history_error: Exception | None = None

    async def _sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds

    def _is_busy(self) -> bool:
        return self.busy()

    async def _uses(self) -> Mapping[str, ImageUse]:
        if self.history_error:
            raise self.history_error
        return self.known

    async def _bases(self) -> Collection[str]:
        return self.bases

    def world(self) -> World:
        """Give the world in which this is the disk."""
        return World(
            lambda: self.needed,
            self._uses,
            self._bases,
            is_busy=self._is_busy,
            clock=lambda: self.now,
            sleep=self._sleep,
            free=lambda _: self.free,
        )

    def need(self, **images: str) -> None:
        """Have images needed from now on, each for a reason."""
        self.needed = replace(self.needed, images=images)
