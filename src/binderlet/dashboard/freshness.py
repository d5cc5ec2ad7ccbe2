"""Looks whether an archive is up to date: stale archives and members that are missing were noticed after months."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date

from binderlet.dashboard.importing import import_archive
from binderlet.dashboard.store import StatisticsStore


@dataclass(frozen=True, slots=True)
class Seen:
    """What an archive has of the last days."""

    last: date | None
    """The last day that has launches."""
    days: int
    today: date
    members: Mapping[str, int]
    """Launches of the last days, by member."""

    def problems(self, members: Sequence[str]) -> list[str]:
        """Say what is wrong with it, in sentences."""
        if self.last is None:
            return ["The archive has no launches."]
        found = []
        behind = (self.today - self.last).days
        if behind >= self.days:
            found.append(f"The last launches are {behind} days old, of {self.last}.")
        found += [f"There are no launches of {member}." for member in members if not self.members.get(member)]
        return found


async def look_at(source: str, store: StatisticsStore, *, days: int, today: int) -> Seen:
    """Count the last days of an archive, in a store of nothing else.

    Raises:
        ArchiveUnavailable: it cannot be read.
    """
    await import_archive(source, store, tell=lambda _: None, newest=days + 1)
    counts = await asyncio.to_thread(store.days, 1, today)
    with_launches = [count.day for count in counts if count.launches]
    members: Counter[str] = Counter()
    for count in counts:
        if count.day > today - days:
            members[count.member] += count.launches
    last = date.fromordinal(max(with_launches)) if with_launches else None
    return Seen(last, days, date.fromordinal(today), members)
