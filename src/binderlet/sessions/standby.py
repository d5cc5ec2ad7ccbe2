"""How many sessions are started ahead, of which images, and which of them end. Pure: counts and the time come in.

Rule 1: real sessions come first. Standbys only have places that no launch holds or waits for, none is started while
a launch starts its session, and where a launch waits or memory or swap gets short they are the first to go.
Rule 2: reservations come before popularity, and only they may take more than ``standby.share``.
Rule 3: an image has as many standbys as launches are to be expected within ``standby.cover``; at least one as long as
its launches, each counting half after ``standby.half_life``, add up to half a launch.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from binderlet.config.schema import StandbySettings
from binderlet.model import RepoSpec

COST = 140 * 1024**2
"""Bytes that a standby has before it is hibernated: a Jupyter server that nobody has used yet."""
WORTH = 0.5
"""Launches, decayed, that are worth a standby."""

STALE = "not wanted any more"
TOO_OLD = "too old"
NO_ROOM = "no room"


@dataclass(frozen=True, slots=True)
class Demand:
    """One kind of session that launches are likely to ask for."""

    key: str
    """What a standby of it carries; see ``command.standby_key``."""
    score: float = 0.0
    """Launches, decayed."""
    reserved: int = 0
    """Launches that reservations still expect."""


@dataclass(frozen=True, slots=True)
class Spare:
    """One standby."""

    session_id: str
    key: str
    created_at: float
    ready: bool = True
    """Whether it has answered."""


@dataclass(frozen=True, slots=True)
class Crowd:
    """What real launches take."""

    places: int
    taken: int = 0
    """By launches and their sessions."""
    waiting: int = 0
    """Launches in the queue."""
    starting: int = 0
    """Sessions that start for a launch."""

    @property
    def room(self) -> int:
        """Places that nobody wants."""
        return max(0, self.places - self.taken - self.waiting)


@dataclass(frozen=True, slots=True)
class Machine:
    """What this machine has, in bytes, and how busy it is."""

    memory: int
    memory_free: int
    swap: int = 0
    swap_free: int = 0
    cpu: float = 0.0
    """Share of the processors' time that was used lately, 0 to 1."""

    def is_pressed(self, floor: float) -> bool:
        """Whether so little is free that standbys must go."""
        return self.memory_free < floor / 2 * self.memory or self.swap_free < floor / 2 * self.swap

    def has_room(self, floor: float) -> bool:
        """Whether one more session leaves enough free."""
        return self.memory_free - COST >= floor * self.memory and self.swap_free >= floor * self.swap


@dataclass(frozen=True, slots=True)
class Plan:
    """What to do now."""

    wanted: Mapping[str, int] = field(default_factory=dict)
    """Standbys of each key, as far as there is room."""
    end: Mapping[str, str] = field(default_factory=dict)
    """Standbys to end, and why."""
    start: str = ""
    """The key to start one of; empty for none."""


def plan(
    demands: Collection[Demand],
    spares: Collection[Spare],
    crowd: Crowd,
    machine: Machine,
    settings: StandbySettings,
    *,
    now: float,
    last_start: float = -math.inf,
) -> Plan:
    """Decide; the order in which demands and standbys are given does not matter."""
    wanted = share_out(demands, crowd, machine, settings)
    end = surplus(spares, wanted, settings, now)
    left = [spare for spare in spares if spare.session_id not in end]
    over = len(left) - crowd.room
    if crowd.waiting or machine.is_pressed(settings.floor):
        over = max(over, 1)  # one a look: memory comes back with each
    end |= {spare.session_id: NO_ROOM for spare in first_to_go(left, demands)[: max(0, over)]}
    left = [spare for spare in left if spare.session_id not in end]
    calm = (
        not crowd.starting
        and not crowd.waiting
        and len(left) < crowd.room
        and all(spare.ready for spare in left)
        and now - last_start >= settings.every
        and machine.cpu <= settings.cpu
        and machine.has_room(settings.floor)
    )
    return Plan(wanted, end, _most_lacking(demands, wanted, left) if calm else "")


def share_out(demands: Collection[Demand], crowd: Crowd, machine: Machine, settings: StandbySettings) -> dict[str, int]:
    """Give how many standbys each key is to have: what is reserved first, then by popularity, one each in turn."""
    room = crowd.room
    wanted: Counter[str] = Counter()
    for demand in sorted(demands, key=lambda demand: demand.key):
        wanted[demand.key] = min(demand.reserved, room)
        room -= wanted[demand.key]
    budget = min(room, budget_of(crowd.places, machine.memory, settings)) if settings.enabled else 0
    popular = sorted(demands, key=lambda demand: (-demand.score, demand.key))
    for turn in range(1, settings.per_image + 1):
        for demand in popular:
            if budget and expected(demand.score, settings) >= turn > wanted[demand.key]:
                wanted[demand.key] += 1
                budget -= 1
    return {key: count for key, count in wanted.items() if count}


def budget_of(places: int, memory: int, settings: StandbySettings) -> int:
    """Give how many standbys there may be for popularity's sake."""
    return int(min(settings.share * places, settings.share * memory / COST))


def expected(score: float, settings: StandbySettings) -> int:
    """Give how many launches are to be expected within ``standby.cover``."""
    if score < WORTH:
        return 0
    per_second = score * math.log(2) / settings.half_life
    return min(settings.per_image, math.ceil(per_second * settings.cover))


def decayed(score: float, seconds: float, half_life: float) -> float:
    """Give what is left of a score after a while; never more than it was."""
    return float(score * 0.5 ** (max(0.0, seconds) / half_life))


def surplus(
    spares: Collection[Spare], wanted: Mapping[str, int], settings: StandbySettings, now: float
) -> dict[str, str]:
    """Give the standbys that are too old, or more than are wanted of their kind: those not ready first, then oldest."""
    end = {spare.session_id: TOO_OLD for spare in spares if now - spare.created_at >= settings.max_age}
    kept: Counter[str] = Counter()
    for spare in sorted(spares, key=lambda spare: (not spare.ready, -spare.created_at, spare.session_id)):
        if spare.session_id in end:
            continue
        if kept[spare.key] >= wanted.get(spare.key, 0):
            end[spare.session_id] = STALE
        else:
            kept[spare.key] += 1
    return end


def first_to_go(spares: Collection[Spare], demands: Collection[Demand]) -> list[Spare]:
    """Order standbys for when the room is needed: of the least reserved and popular images first, oldest first."""
    worth = {demand.key: (demand.reserved, demand.score) for demand in demands}
    return sorted(
        spares,
        key=lambda spare: (worth.get(spare.key, (0, 0.0)), spare.ready, spare.created_at, spare.session_id),
    )


def _most_lacking(demands: Collection[Demand], wanted: Mapping[str, int], spares: Sequence[Spare]) -> str:
    have = Counter(spare.key for spare in spares)
    lacking = [demand for demand in demands if wanted.get(demand.key, 0) > have[demand.key]]
    order = sorted(
        lacking,
        key=lambda demand: (demand.reserved <= have[demand.key], -demand.score / (1 + have[demand.key]), demand.key),
    )
    return order[0].key if order else ""


@dataclass(frozen=True, slots=True)
class Reservation:
    """An event at which many will launch the same repository, such as a workshop."""

    id: str
    spec: RepoSpec
    host: str
    """The URL its visitors will come to; empty where that is not known."""
    count: int
    begins: float
    """Seconds since the epoch, as is ``ends``."""
    ends: float
    launched: int = 0
    """Launches of it since its standbys were first wanted."""
    problem: str = ""
    """Why nothing can be started for it; empty while all is well."""

    def is_open(self, now: float, settings: StandbySettings) -> bool:
        """Whether its standbys are wanted: from long enough before it begins that all can be there."""
        lead = settings.lead + self.count * settings.every
        return self.begins - lead <= now < self.ends

    def missing(self, now: float, settings: StandbySettings) -> int:
        """Give how many of its launches are still to come."""
        return max(0, self.count - self.launched) if self.is_open(now, settings) else 0
