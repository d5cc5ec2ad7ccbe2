"""At what hours of the day something is launched, remembered for some days. Pure.

Rule 1: an hour counts once a day, however many launches it has, and half after ``HALF_LIFE``.
Rule 2: an hour is usual once it counts ``USUAL``: launched in on at least two of the last few days; a weekend in
between does not end what five days have begun.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

HOUR, DAY = 3600.0, 86400.0
HALF_LIFE = 3 * DAY
USUAL = 1.2
FORGET = 0.1
"""An hour that counts less is forgotten: ten days after its only launch."""

Habit = Mapping[int, tuple[float, float]]
"""Hour of the day (UTC) to what it counted at its last launch, and when that was, in seconds since the epoch."""


def noted(habit: Habit, now: float) -> Habit:
    """Add a launch; hours that count next to nothing are left out."""
    hour = hour_of(now)
    kept = {each: seen for each, seen in habit.items() if _weight(seen, now) >= FORGET}
    seen = habit.get(hour, (0.0, -math.inf))
    if now - seen[1] < DAY / 2:
        return kept  # the same hour of the same day
    return {**kept, hour: (_weight(seen, now) + 1, now)}


def is_usual(habit: Habit, now: float, ahead: float = 0.0) -> bool:
    """Whether launches are usual in this hour of the day, or in the one that it will be ``ahead`` seconds later."""
    return any(_weight(habit.get(hour_of(at), (0.0, 0.0)), now) >= USUAL for at in (now, now + ahead))


def is_known(habit: Habit, now: float) -> bool:
    """Whether any hour still counts."""
    return any(_weight(seen, now) >= FORGET for seen in habit.values())


def hour_of(now: float) -> int:
    """Give the hour of the day, 0 to 23."""
    return int(now % DAY // HOUR)


def _weight(seen: tuple[float, float], now: float) -> float:
    count, at = seen
    return float(count * 0.5 ** (max(0.0, now - at) / HALF_LIFE)) if count else 0.0
