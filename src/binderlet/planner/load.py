"""A load: when launches come, and how long sessions stay. Pure."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import accumulate
from statistics import NormalDist

SLOT = 300.0
"""Seconds of a slot: arrivals are even within it."""
SLOTS_PER_DAY = 288
STEPS = 200
"""Points of a distribution of lengths."""
MAX_AGE = 21600.0
DAY_SHAPE = tuple(0.45 + 0.55 * math.exp(-(((hour - 14) / 4.5) ** 2)) for hour in range(24))
"""Launches in each hour (UTC) beside the busiest, where nothing better is known: a public service's with users in
Europe and America."""


@dataclass(frozen=True)
class Lengths:
    """How long sessions stay: lengths in seconds, rising, with the share of each."""

    seconds: tuple[float, ...]
    shares: tuple[float, ...]

    @cached_property
    def mean(self) -> float:
        """The mean length."""
        return _dot(self.seconds, self.shares)

    @cached_property
    def longest(self) -> float:
        """The longest length."""
        return self.seconds[-1]

    @cached_property
    def _ended(self) -> tuple[float, ...]:
        return tuple(accumulate(self.shares))

    def survival(self, after: float) -> float:
        """Give the share of sessions that stay longer than this."""
        place = bisect_right(self.seconds, after)
        return max(0.0, 1.0 - self._ended[place - 1]) if place else 1.0

    def quantile(self, share: float) -> float:
        """Give the length that this share of sessions does not exceed."""
        place = bisect_right(self._ended, share - 1e-12)
        return self.seconds[min(place, len(self.seconds) - 1)]

    def scaled(self, factor: float) -> Lengths:
        """Give lengths that are all longer by a factor."""
        return Lengths(tuple(one * factor for one in self.seconds), self.shares)


def lognormal(median: float, p90: float, *, max_age: float = MAX_AGE) -> Lengths:
    """Give lengths with this median and 90th percentile, cut at the age at which sessions are ended."""
    spread = max(math.log(p90 / median) / NormalDist().inv_cdf(0.9), 1e-6)
    normal = NormalDist(math.log(median), spread)
    points = sorted(min(max_age, math.exp(normal.inv_cdf((step + 0.5) / STEPS))) for step in range(STEPS))
    return Lengths(tuple(points), (1 / STEPS,) * STEPS)


def measured(durations: Sequence[tuple[float, int]]) -> Lengths:
    """Give lengths as they were counted: rising durations, each with how often it was."""
    total = sum(count for _, count in durations)
    return Lengths(tuple(length for length, _ in durations), tuple(count / total for _, count in durations))


@dataclass(frozen=True)
class Load:
    """Launches per slot over some whole days, which come again and again, and what sessions are like."""

    arrivals: tuple[float, ...]
    lengths: Lengths
    built: float = 0.05
    """Share of launches that need a build."""
    build_seconds: float = 180.0
    egress: float = 20e6
    """Bytes that a session sends to its visitor, JupyterLab itself and what is shown: an estimate."""

    @property
    def per_day(self) -> float:
        """Launches on an average day."""
        return sum(self.arrivals) / len(self.arrivals) * SLOTS_PER_DAY

    @property
    def per_month(self) -> float:
        """Launches in an average month."""
        return self.per_day * 365.25 / 12

    def scaled(self, factor: float) -> Load:
        """Give the same with so many times more launches."""
        return replace(self, arrivals=tuple(one * factor for one in self.arrivals))


def described(
    per_day: float, lengths: Lengths, *, weekend: float = 0.55, shape: Sequence[float] = DAY_SHAPE, built: float = 0.05
) -> Load:
    """Give a week of a load of which only the launches on an average workday are known."""
    per_slot = len(shape) / SLOTS_PER_DAY
    day = [per_day * shape[int(slot * per_slot)] / sum(shape) * per_slot for slot in range(SLOTS_PER_DAY)]
    week = [one * (weekend if number >= 5 else 1.0) for number in range(7) for one in day]  # noqa: PLR2004 - Saturday
    return Load(tuple(week), lengths, built)


def recorded(minutes: Mapping[int, Sequence[int]], lengths: Lengths, *, built: float = 0.05) -> Load:
    """Give the load of an archive: launches per minute of each day, from the first day to the last."""
    width = int(SLOT / 60)
    flat: list[float] = []
    for day in range(min(minutes), max(minutes) + 1):
        counts = minutes.get(day, (0,) * 1440)
        flat += [float(sum(counts[start : start + width])) for start in range(0, 1440, width)]
    return Load(tuple(flat), lengths, built)


def concurrency(load: Load) -> list[float]:
    """Give the mean number of sessions at once at the end of each slot, were there room for all.

    Sessions start as launches come and stay for lengths that do not depend on each other, so this is exact, and the
    real number varies around it as a Poisson number does.
    """
    reach = min(len(load.arrivals), math.ceil(load.lengths.longest / SLOT) + 1)
    # A launch comes anywhere within its slot: the mean over some places of it.
    parts = [(part + 0.5) / 4 * SLOT for part in range(4)]
    kept = [sum(load.lengths.survival(age * SLOT + part) for part in parts) / 4 for age in range(reach)]
    while len(kept) > 1 and kept[-1] == 0.0:
        kept.pop()
    before = load.arrivals[len(load.arrivals) - len(kept) + 1 :] if len(kept) > 1 else ()
    line = (*before, *load.arrivals)
    kept.reverse()
    width = len(kept)
    return [_dot(kept, line[at : at + width]) for at in range(len(load.arrivals))]


def _dot(left: Sequence[float], right: Sequence[float]) -> float:
    return sum(map(float.__mul__, left, right))
