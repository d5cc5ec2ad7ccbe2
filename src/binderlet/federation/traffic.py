"""A year of launches as a public archive shows them: hours, weekdays, seasons, a few loved repositories, crowds."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

HOURS = (45, 38, 34, 32, 33, 39, 55, 82, 110, 128, 135, 138, 140, 148, 158, 160, 152, 138, 122, 110, 100, 88, 72, 58)
"""Launches by hour (UTC), the mean being about 100: Europe's morning, then America's."""
WEEKDAYS = (1.12, 1.18, 1.17, 1.14, 1.02, 0.66, 0.71)
SEASON = 0.2
"""How much summer and winter break lie below the terms."""
POPULARITY = 0.95
"""Exponent of the popularity of repositories by rank."""
DAY, WEEK, YEAR = 86400.0, 7 * 86400.0, 365.25 * 86400.0


@dataclass(frozen=True, slots=True)
class Load:
    """What is asked for."""

    launches_per_day: float
    repositories: int = 10_000
    crowds_per_month: float = 4.0
    """Workshops and headlines: all click one repository within a short time."""
    crowd_size: float = 0.0
    """Launches of a crowd; 0: as many as come in an hour."""
    crowd_seconds: float = 900.0


def rate(load: Load, now: float) -> float:
    """Give the launches a second at a time since a Monday's midnight (UTC), crowds aside."""
    hour = (now % DAY) / 3600
    first, part = int(hour), hour % 1
    daily = HOURS[first] * (1 - part) + HOURS[(first + 1) % 24] * part
    weekly = WEEKDAYS[int(now % WEEK // DAY)]
    season = 1 + SEASON * math.cos(4 * math.pi * (now / YEAR - 0.25))
    return load.launches_per_day / DAY * daily / (sum(HOURS) / 24) * weekly * season


class Traffic:
    """Draws launches step by step."""

    def __init__(self, load: Load, numpy: Any, random: np.random.Generator) -> None:  # noqa: ANN401 - the module
        self._np = numpy
        self._random = random
        self._load = load
        ranks = numpy.arange(1, load.repositories + 1, dtype=float)
        self._cumulative: NDArray[np.float64] = (ranks**-POPULARITY).cumsum()
        self._cumulative /= self._cumulative[-1]
        self._crowd_end = -1.0
        self._crowd_of = 0
        self.crowds = 0

    def step(self, now: float, seconds: float) -> NDArray[np.int64]:
        """Give the repository of each launch of a step."""
        count = int(self._random.poisson(rate(self._load, now) * seconds))
        found = self._cumulative.searchsorted(self._random.random(count))
        crowd = self._crowd(now, seconds)
        if crowd:
            found = self._np.concatenate([found, self._np.full(crowd, self._crowd_of)])
        return found

    def _crowd(self, now: float, seconds: float) -> int:
        load = self._load
        begins = load.crowds_per_month * seconds / (30 * DAY)
        if now > self._crowd_end and self._random.random() < begins:
            self._crowd_end = now + load.crowd_seconds
            self._crowd_of = int(self._random.integers(load.repositories))
            self.crowds += 1
        if now > self._crowd_end:
            return 0
        size = load.crowd_size or load.launches_per_day / 24
        return int(self._random.poisson(size * seconds / load.crowd_seconds))
