"""What goes when disk is short (pure): the least valuable first, and only what may go.

Everything that is kept is an ``Item`` made of ``Part``s. Images share parts, so that removing one frees only what no
other item has; a *bundle* is all the items that share a part, since only together do they free it. What a bundle is
worth is the time that its removal is likely to cost, ``cost * popularity`` of each item; the bundle that is worth
least for each byte it frees goes first.

``docs/explanation/retention.md`` has the reasons.
"""

from __future__ import annotations

import heapq
import math
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

GB = 1024**3


class Kind(StrEnum):
    """What an item is."""

    IMAGE = "image"
    """What a session runs."""
    ENVIRONMENT = "environment"
    """What several of these are built on."""
    BASE = "base"
    """What environments are built on."""
    CACHE = "cache"
    """What builds keep for later builds."""
    CONTAINER = "container"
    """What a session left."""
    LOG = "log"
    CHECKOUT = "checkout"
    MIRROR = "mirror"
    STATE = "state"
    """Files that are only counted."""


@dataclass(frozen=True, slots=True)
class Part:
    """Some bytes that one item has, or several share, such as a layer."""

    id: str
    size: int


@dataclass(frozen=True, slots=True)
class Item:
    """One thing that is kept."""

    id: str
    kind: Kind
    name: str
    """What a person calls it."""
    parts: tuple[Part, ...]
    volume: str = "disk"
    """Where its bytes are; items that share a part are on one volume."""
    owner: str = ""
    """Whose share it counts for; empty for what is everyone's."""
    repository: str = ""
    cost: float = 0.0
    """Seconds that having it again takes."""
    popularity: float = 0.0
    """Its launches, each counting less the longer it is ago; see ``decayed``."""
    launches: int = 0
    """All that are on record, for people."""
    last_used: float = 0.0
    """Seconds since the epoch."""
    keep: str = ""
    """Why it must stay; empty for what may go."""
    is_junk: bool = False
    """Whether it goes even where there is room, as soon as it is old enough."""

    @property
    def size(self) -> int:
        """Bytes, shared ones included."""
        return sum(part.size for part in self.parts)


@dataclass(frozen=True, slots=True)
class Limit:
    """How much some volumes together may hold."""

    volumes: frozenset[str]
    used: int
    """Bytes, as measured."""
    start: int
    """Beyond it something must go ..."""
    stop: int
    """... until this much is left."""


@dataclass(frozen=True, slots=True)
class Rules:
    """What an operator sets."""

    half_life: float = 14 * 86400.0
    """Seconds after which a launch counts half."""
    min_age: float = 3600.0
    """What was made or used within these seconds stays."""
    max_age: float = 0.0
    """Images that were not launched for these seconds go even where there is room; 0 for never."""
    owner_share: float = 0.25
    """Share of ``budget`` beyond which an owner's images count less."""
    budget: int = 0
    """Bytes that owners share; 0 for no shares."""


@dataclass(frozen=True, slots=True)
class Removal:
    """One step: items that go together."""

    items: tuple[Item, ...]
    frees: int
    """Bytes."""
    worth: float
    """Seconds of waiting that it is likely to cost."""
    why: str


def decayed(launches: Iterable[tuple[float, int]], now: float, half_life: float) -> float:
    """Count launches, ``(when, how many)``, each half after every ``half_life`` seconds."""
    return sum(count * math.exp2(-max(0.0, now - at) / half_life) for at, count in launches)


def plan(items: Collection[Item], limits: Sequence[Limit], rules: Rules, now: float) -> list[Removal]:
    """Give what to remove, in this order, until every limit is kept or nothing is left that may go."""
    shelf = Shelf(items, rules, now)
    used = [limit.used for limit in limits]
    steps: list[Removal] = []

    def take(removal: Removal) -> None:
        steps.append(removal)
        shelf.remove(removal.items)
        volume = removal.items[0].volume
        for number, limit in enumerate(limits):
            if volume in limit.volumes:
                used[number] -= removal.frees

    for removal in shelf.overdue():
        take(removal)
    tight = {number for number, limit in enumerate(limits) if used[number] > limit.start}
    while tight := {number for number in tight if used[number] > limits[number].stop}:
        volumes = frozenset[str]().union(*(limits[number].volumes for number in tight))
        cheapest = shelf.cheapest(volumes)
        if cheapest is None:
            break
        take(cheapest)
    return steps


class Shelf:
    """What is kept, as it becomes less; ``cheapest`` says what should go next."""

    def __init__(self, items: Collection[Item], rules: Rules, now: float) -> None:
        self._items = {item.id: item for item in items}
        self._rules = rules
        self._now = now
        self._users: dict[str, set[str]] = {}
        self._sizes: dict[str, int] = {}
        for item in items:
            for part in item.parts:
                self._users.setdefault(part.id, set()).add(item.id)
                self._sizes[part.id] = part.size
        self._owned = self._shares()
        self._stays = {item.id for item in items if self.keep(item)}
        self._heap: list[tuple[float, int, str]] = []
        for name in self._users:
            self._push(name)

    def keep(self, item: Item) -> str:
        """Say why an item stays; empty where it may go."""
        if item.keep:
            return item.keep
        if self._now - item.last_used < self._rules.min_age:
            return "it was made or used a moment ago"
        return ""

    def value(self, item: Item) -> float:
        """Give the seconds that removing an item is likely to cost, less where its owner has more than a share."""
        return item.cost * item.popularity * self.owner_factor(item.owner)

    def owner_factor(self, owner: str) -> float:
        """Give 1, or how much less an owner's items count who has more than a share."""
        allowed = self._rules.owner_share * self._rules.budget
        owned = self._owned.get(owner, 0.0) if owner else 0.0
        return allowed / owned if allowed and owned > allowed else 1.0

    def frees(self, items: Iterable[Item]) -> int:
        """Give the bytes that are had when these items go: what no other item has."""
        counts = Counter(part for item in items for part in {part.id for part in item.parts})
        return sum(self._sizes[part] for part, count in counts.items() if count == len(self._users[part]))

    def used(self) -> int:
        """Give the bytes of all items, shared ones once."""
        return sum(self._sizes[part] for part, users in self._users.items() if users)

    def overdue(self) -> list[Removal]:
        """Give what goes although there is room: junk, and images that nobody launched for long."""
        found: list[Removal] = []
        gone: set[str] = set()
        for item in self._items.values():
            if item.id not in self._stays and (why := self._overdue(item)):
                gone.add(item.id)
                # Each one's removal changes what the next one frees.
                mine = {part.id: part.size for part in item.parts}
                frees = sum(size for part, size in mine.items() if self._users[part] <= gone)
                found.append(Removal((item,), frees, self.value(item), why))
        return found

    def _overdue(self, item: Item) -> str:
        if item.is_junk:
            return "it is of no use any more"
        is_image = item.kind in {Kind.IMAGE, Kind.ENVIRONMENT}
        if is_image and 0 < self._rules.max_age < self._now - item.last_used:
            return "it was not launched for longer than disk.max_age"
        return ""

    def cheapest(self, volumes: Collection[str]) -> Removal | None:
        """Give the bundle on these volumes that is worth least for each byte; None where nothing may go."""
        elsewhere: list[tuple[float, int, str]] = []
        found: Removal | None = None
        while self._heap and found is None:
            entry = heapq.heappop(self._heap)
            fresh = self._entry(entry[2])
            if fresh is None:
                continue
            if fresh != entry:  # what it frees has changed since
                heapq.heappush(self._heap, fresh)
                continue
            bundle = self._bundle(entry[2])
            if bundle[0].volume in volumes:
                found = Removal(bundle, -entry[1], self._worth(bundle), "it is worth least for the room it takes")
            elsewhere.append(entry)
        for entry in elsewhere:
            heapq.heappush(self._heap, entry)
        return found

    def remove(self, items: Iterable[Item]) -> None:
        """Take items off; what they shared with others becomes the others'."""
        touched: set[str] = set()
        for item in items:
            self._items.pop(item.id, None)
            for part in item.parts:
                self._users[part.id].discard(item.id)
                touched.add(part.id)
        for name in sorted(touched):
            self._push(name)

    def _bundle(self, part: str) -> tuple[Item, ...]:
        # What is built on others goes before them.
        found = (self._items[each] for each in self._users[part])
        return tuple(sorted(found, key=lambda item: (-len(item.parts), item.id)))

    def _worth(self, bundle: Iterable[Item]) -> float:
        return sum(self.value(item) for item in bundle)

    def _entry(self, part: str) -> tuple[float, int, str] | None:
        users = self._users[part]
        if not users or not users.isdisjoint(self._stays):
            return None
        bundle = self._bundle(part)
        frees = self.frees(bundle)
        return (self._worth(bundle) / frees, -frees, part) if frees else None

    def _push(self, part: str) -> None:
        if (entry := self._entry(part)) is not None:
            heapq.heappush(self._heap, entry)

    def _shares(self) -> Mapping[str, float]:
        """Give each owner's bytes; what several items share is divided evenly."""
        owned: dict[str, float] = {}
        for item in self._items.values():
            if item.owner:
                bytes_ = sum(part.size / len(self._users[part.id]) for part in item.parts)
                owned[item.owner] = owned.get(item.owner, 0.0) + bytes_
        return owned


@dataclass(frozen=True, slots=True)
class Volume:
    """One file system."""

    name: str
    ours: int
    """Bytes that the items on it take."""
    free: int
    """Bytes that nobody uses."""


@dataclass(frozen=True, slots=True)
class Budget:
    """How much there may be, and when to begin."""

    total: int = 0
    """Bytes of everything together; 0 for what the file systems hold."""
    spare: int = 0
    """Bytes that one build may need: builds are refused when less is left."""
    start_at: float = 0.95
    stop_at: float = 0.9

    def limits(self, volumes: Sequence[Volume]) -> list[Limit]:
        """Give the limits of file systems, and of all of them together where there is a total."""
        limits = [self._limit(frozenset({volume.name}), volume.ours, volume.ours + volume.free) for volume in volumes]
        if self.total:
            names = frozenset(volume.name for volume in volumes)
            limits.append(self._limit(names, sum(volume.ours for volume in volumes), self.total))
        return limits

    def _limit(self, names: frozenset[str], used: int, capacity: int) -> Limit:
        start = min(capacity * self.start_at, capacity - 1.5 * self.spare)
        stop = min(capacity * self.stop_at, capacity - 2 * self.spare)
        return Limit(names, used, max(0, int(start)), max(0, int(min(start, stop))))

    def room(self, volumes: Sequence[Volume]) -> int:
        """Give the bytes that may still come, at least 0."""
        rooms = [volume.free for volume in volumes]
        if self.total:
            rooms.append(self.total - sum(volume.ours for volume in volumes))
        return max(0, min(rooms, default=0))


def order(items: Collection[Item], rules: Rules, now: float) -> list[Removal]:
    """Give all that may go, in the order in which it would if ever more room were needed."""
    volumes = frozenset(item.volume for item in items)
    return plan(items, [Limit(volumes, used=2**62, start=0, stop=-(2**62))], rules, now)
