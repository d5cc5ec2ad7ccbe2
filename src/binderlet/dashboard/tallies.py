"""What one day at one member comes to: launches per minute, and per repository. Pure.

Nothing else of an event is kept: no reference, no origin of the request, and no link between minute and repository.
"""

from __future__ import annotations

import zlib
from array import array
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from urllib.parse import unquote

MINUTES = 1440
NO_MEMBER = "mybinder.org"
"""The member of events that name none: the first versions of the format had one member alone."""


@dataclass(slots=True)
class Tally:
    """One day at one member."""

    launches: int = 0
    failures: int = 0
    minutes: Counter[int] = field(default_factory=Counter)
    """Launches per minute of the day (UTC), where there are any."""
    repositories: Counter[str] = field(default_factory=Counter)
    """Launches per repository, ``GitHub/owner/name``, without the ref."""

    def add(self, other: Tally) -> None:
        """Count another part of the same day too."""
        self.launches += other.launches
        self.failures += other.failures
        self.minutes.update(other.minutes)
        self.repositories.update(other.repositories)


Tallies = dict[tuple[int, str], Tally]
"""By day (as ``date.toordinal`` counts) and member."""


@dataclass(frozen=True, slots=True)
class DayCount:
    """Launches of one day at one member."""

    day: int
    member: str
    source: str
    launches: int
    failures: int


def merge(into: Tallies, more: Tallies) -> None:
    """Add tallies to others."""
    for key, tally in more.items():
        into.setdefault(key, Tally()).add(tally)


def repository_of(provider: str, spec: str) -> str:
    """Give the repository of a spec, readable and without its ref.

    ``GitHub`` and ``Gist`` have an owner and a name, ``GitLab``, ``Git`` and ``CKAN`` one percent-encoded part, the
    others are a DOI or number as a whole.
    """
    parts = spec.split("/")
    if provider in {"GitHub", "Gist"}:
        name = "/".join(parts[:2])
    elif provider in {"GitLab", "Git", "CKAN"}:
        name = unquote(parts[0])
    else:
        name = spec
    return f"{provider}/{name.lower() if provider == 'GitHub' else name}"


def pack_minutes(minutes: Mapping[int, int]) -> bytes:
    """Write launches per minute in few bytes."""
    flat = array("I", [minutes.get(minute, 0) for minute in range(MINUTES)])
    return zlib.compress(flat.tobytes(), 6)


def unpack_minutes(packed: bytes) -> array[int]:
    """Read launches per minute of the day."""
    flat = array("I")
    flat.frombytes(zlib.decompress(packed))
    return flat


def pack_counts(counts: Mapping[int, int]) -> bytes:
    """Write counts by number in few bytes: the numbers as differences, then the counts."""
    numbers = sorted(counts)
    steps = array("I", [number - before for before, number in zip([0, *numbers], numbers, strict=False)])
    return zlib.compress(steps.tobytes() + array("I", [counts[number] for number in numbers]).tobytes(), 6)


def unpack_counts(packed: bytes) -> Iterable[tuple[int, int]]:
    """Read counts by number."""
    flat = array("I")
    flat.frombytes(zlib.decompress(packed))
    half = len(flat) // 2
    number = 0
    for step, count in zip(flat[:half], flat[half:], strict=True):
        number += step
        yield number, count


def day_of(moment: float) -> int:
    """Give the day of a time in seconds since the epoch, in UTC, as ``date.toordinal`` counts."""
    return datetime.fromtimestamp(moment, UTC).toordinal()


def start_of(day: int) -> float:
    """Give when a day begins, in seconds since the epoch."""
    return (day - EPOCH) * 86400.0


EPOCH = date(1970, 1, 1).toordinal()
