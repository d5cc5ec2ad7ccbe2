"""Puts numbers on a time of service: share, uptime, latency, cost, effort, what others would have had to do. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from binderlet.dashboard.notes import Note
from binderlet.dashboard.own import Body, percentile
from binderlet.dashboard.store import BEAT
from binderlet.dashboard.tallies import DayCount

MONTH = 365.25 / 12
"""Days."""
SHORTEST = 2
"""Slots that the service must have been away for it to be an incident: one may be missed while all is well."""


@dataclass(frozen=True, slots=True)
class Outage:
    """A time in which the service did not run, or was not well."""

    begins: float
    seconds: float
    ran: bool
    """Whether it ran, but was not well."""


@dataclass(frozen=True, slots=True)
class Uptime:
    """How much of the time the service ran and was well."""

    share: float | None
    """None where nothing was noted."""
    known_since: float
    outages: tuple[Outage, ...] = ()


@dataclass(frozen=True, slots=True)
class Money:
    """What it cost."""

    total: float
    per_launch: float | None
    per_session_hour: float | None
    currency: str


@dataclass(frozen=True, slots=True)
class Without:
    """What the other members would have had to take over."""

    launches: int
    more: float | None
    """By which factor the others' launches would have grown; None where there are no others."""
    beyond: int
    """Launches in hours with more of them than the others together ever served in an hour."""


@dataclass(frozen=True)
class Evaluation:
    """All numbers of a report."""

    first: int
    last: int
    member: str
    launches: int
    federation: int
    """Launches of all members."""
    members: Mapping[str, int]
    outcomes: Mapping[str, int]
    codes: Mapping[str, int]
    latency: Mapping[str, tuple[float | None, float | None, float | None]]
    """Median, p95 and p99 in seconds, where the image was there and with a build."""
    session_hours: float
    most_at_once: int
    uptime: Uptime
    money: Money | None
    notes: Sequence[Note] = field(default_factory=tuple)
    without: Without | None = None

    @property
    def days(self) -> int:
        """How many days it is about."""
        return self.last - self.first + 1

    @property
    def share(self) -> float | None:
        """The member's share of the federation's launches."""
        return self.launches / self.federation if self.federation else None

    @property
    def success(self) -> float | None:
        """Share of launches that led to a session, of those that were not refused."""
        tried = self.outcomes.get("success", 0) + self.outcomes.get("failure", 0)
        return self.outcomes.get("success", 0) / tried if tried else None


def evaluate(
    first: int,
    last: int,
    member: str,
    counts: Sequence[DayCount],
    own: Mapping[int, Body],
    *,
    uptime: Uptime,
    hours: tuple[Mapping[int, Sequence[int]], Mapping[int, Sequence[int]]],
    notes: Sequence[Note] = (),
    month: float | None = None,
    currency: str = "EUR",
) -> Evaluation:
    """Sum up; ``hours`` are launches per hour, of all members and of all but this one; ``month`` is a month's cost."""
    members: Counter[str] = Counter()
    outcomes: Counter[str] = Counter()
    codes: Counter[str] = Counter()
    for count in counts:
        members[count.member] += count.launches
    for body in own.values():
        outcomes.update(body["outcomes"])
        codes.update(body["codes"])
    launches = members[member] or outcomes["success"]
    session_hours = sum(body["session_seconds"] for body in own.values()) / 3600
    return Evaluation(
        first,
        last,
        member,
        launches,
        members.total() - members[member] + launches,
        members,
        outcomes,
        codes,
        {kind: _latency(own, kind) for kind in ("ready", "built")},
        session_hours,
        max((max(body["sessions"], default=0) for body in own.values()), default=0),
        uptime,
        None if month is None else money_of(month * (last - first + 1) / MONTH, launches, session_hours, currency),
        notes,
        without(launches, members.total() - members[member], *hours),
    )


def _latency(own: Mapping[int, Body], kind: str) -> tuple[float | None, float | None, float | None]:
    histograms = [body["latency"][kind] for body in own.values()]
    return percentile(histograms, 0.5), percentile(histograms, 0.95), percentile(histograms, 0.99)


def money_of(total: float, launches: int, session_hours: float, currency: str) -> Money:
    """Divide what it cost by what it was for."""
    return Money(
        total, total / launches if launches else None, total / session_hours if session_hours else None, currency
    )


def without(
    launches: int, others: int, hours: Mapping[int, Sequence[int]], of_others: Mapping[int, Sequence[int]]
) -> Without | None:
    """Estimate what would have been without a member; None where no others are known.

    What the others can serve in an hour is taken to be the most that they ever did together.
    """
    if not others:
        return None
    most = max((max(day) for day in of_others.values()), default=0)
    beyond = sum(max(0, hour - most) for day in hours.values() for hour in day)
    return Without(launches, (launches + others) / others, beyond)


def uptime_of(beats: Mapping[int, bool], begins: float, ends: float) -> Uptime:
    """Give uptime and outages from what was noted; nothing is known of the time before the first note."""
    if not beats:
        return Uptime(None, begins)
    since = max(int(begins / BEAT), min(beats))
    slots = range(since, max(since + 1, int(ends / BEAT)))
    outages: list[Outage] = []
    well = 0
    start: int | None = None
    for slot in [*slots, slots.stop]:
        if slot == slots.stop or beats.get(slot):
            well += slot != slots.stop
            if start is not None and slot - start >= SHORTEST:
                ran = any(one in beats for one in range(start, slot))
                outages.append(Outage(start * BEAT, (slot - start) * BEAT, ran))
            elif start is not None:
                well += slot - start
            start = None
        elif start is None:
            start = slot
    return Uptime(well / len(slots), since * BEAT, tuple(outages))
