"""How long launches wait for a place, by formula. Pure.

A fixed number of places is Erlang's queue, slot by slot, with what is left over carried on; autoscaled places fall
short when more launches come within the time a new machine takes than there is room kept free. ``simulate``
checks both.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from statistics import NormalDist

from binderlet.planner.load import SLOT, Load

FINE = 0.005
"""Loads that differ by less are taken as one: a year has many slots and few different loads."""
FAR = 8.0
"""Standard deviations of room beyond which nobody ever waits."""
CREST = 0.4
"""How far above the mean a cluster's machines reach in calm, in standard deviations: fitted to ``simulate``."""
NORMAL = NormalDist()
LONGEST_WAIT = 86400.0

Tail = Callable[[float], float]
"""The share of launches that wait longer than so many seconds."""


@lru_cache(maxsize=20_000)
def erlang_c(places: int, load: float) -> float:
    """Give the chance to wait where ``load`` sessions would be there on average, were there room for all."""
    if load >= places:
        return 1.0
    if load <= 0 or places - load > FAR * math.sqrt(load + 1):
        return 0.0
    inverse = 1.0
    for place in range(1, places + 1):
        inverse = 1.0 + inverse * place / load
    blocked = 1.0 / inverse
    return blocked / (1.0 - load / places * (1.0 - blocked))


@dataclass(frozen=True, slots=True)
class _Slot:
    arrivals: float
    chance: float
    """Chance to wait."""
    mean: float
    """Mean wait of those that do, in seconds."""
    least: float
    """What everyone waits, in seconds, behind those that came before."""


def fixed_tail(load: Load, sessions: Sequence[float], places: int) -> Tail:
    """Give how long launches wait for one of so many places."""
    length = load.lengths.mean
    here, slots = 0.0, []
    for arrivals, wanted in zip(load.arrivals, sessions, strict=True):
        # While there is room, those who are here are known exactly; when there is none, who leaves makes room.
        if here <= places and wanted <= places:
            here = wanted
        else:
            here = max(0.0, here + arrivals - min(here, places) * SLOT / length)
        rounded = math.exp(round(math.log(wanted) / FINE) * FINE) if wanted > 0 else 0.0
        # A queue of hours cannot build up within a slot: near full, the formula's long run never comes.
        mean = length / max(places - rounded, math.sqrt(places))
        least = max(0.0, here - places) * length / places
        slots.append(_Slot(arrivals, erlang_c(places, rounded), mean, least))
    total = sum(load.arrivals) or 1.0

    def tail(wait: float) -> float:
        longer = 0.0
        for slot in slots:
            if slot.least > wait:
                longer += slot.arrivals
            elif slot.chance > 0:
                longer += slot.arrivals * slot.chance * math.exp(-(wait - slot.least) / slot.mean)
        return longer / total

    return tail


def scaled_tail(load: Load, sessions: Sequence[float], room: float, per_node: int, lag: float) -> Tail:
    """Give how long launches wait where machines of ``per_node`` places come ``lag`` seconds after they are needed.

    ``room`` places are kept free; how full the last machine is varies, so some more are.
    """
    length = load.lengths.mean
    rise = [(after - before) / SLOT for before, after in zip([sessions[-1], *sessions], sessions, strict=False)]
    spares = [room + per_node * (part + 0.5) / 4 for part in range(4)]
    total = sum(load.arrivals) or 1.0

    def tail(wait: float) -> float:
        left = lag - wait
        if left <= 0:
            return 0.0
        longer = 0.0
        for arrivals, wanted, slope in zip(load.arrivals, sessions, rise, strict=True):
            spread = math.sqrt(max(1e-9, (arrivals / SLOT + wanted / length) * left))
            # Machines that came for the last crest are still there: the number varies by its root around its mean.
            free = CREST * math.sqrt(wanted) - slope * left
            longer += arrivals * sum(1 - NORMAL.cdf((spare + free) / spread) for spare in spares) / len(spares)
        return longer / total

    return tail


def percentile(tail: Tail, share: float = 0.95) -> float:
    """Give the wait that this share of launches does not exceed, in seconds."""
    if tail(0.0) <= 1 - share:
        return 0.0
    low, high = 0.0, LONGEST_WAIT
    if tail(high) > 1 - share:
        return high
    while high - low > max(0.05, high * 0.001):
        middle = (low + high) / 2
        low, high = (middle, high) if tail(middle) > 1 - share else (low, middle)
    return high
