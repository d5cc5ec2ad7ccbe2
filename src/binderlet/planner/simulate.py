"""Plays a load event by event, to check the formulas. Pure: the same seed gives the same run."""

from __future__ import annotations

import heapq
import random
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import accumulate

from binderlet.planner.load import SLOT, Load


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a run."""

    launches: int
    waits: tuple[float, ...]
    """Seconds that each launch waited for its place, sorted."""
    most: int
    """Sessions at once."""
    mean: float
    """Sessions at once on average."""
    node_hours: float
    """Hours of all machines of a cluster; 0 for fixed places."""
    hours: float

    def wait(self, share: float) -> float:
        """Give the wait that this share of launches did not exceed."""
        return self.waits[min(len(self.waits) - 1, int(share * len(self.waits)))] if self.waits else 0.0


def arrivals(load: Load, chance: random.Random, *, rounds: int = 1) -> Iterator[tuple[float, float]]:
    """Yield launches, each with when it comes and how long its session will stay."""
    shares = list(accumulate(load.lengths.shares))
    start = 0.0
    for _ in range(rounds):
        for rate in load.arrivals:
            at = chance.expovariate(rate / SLOT) if rate > 0 else SLOT
            while at < SLOT:
                (length,) = chance.choices(load.lengths.seconds, cum_weights=shares)
                yield start + at, length
                at += chance.expovariate(rate / SLOT)
            start += SLOT


def simulate_fixed(load: Load, places: int, *, seed: int = 1, rounds: int = 1) -> Outcome:
    """Play a fixed number of places: who finds none waits in a queue, first come first served."""
    chance = random.Random(seed)  # noqa: S311 - a run must be the same each time
    ends: list[float] = []
    waits: list[float] = []
    busy, most = 0.0, 0
    for at, length in arrivals(load, chance, rounds=rounds):
        while ends and ends[0] <= at:
            heapq.heappop(ends)
        # With every place taken, or promised to those who wait already, the next end is this one's beginning.
        begins = at if len(ends) < places else max(at, heapq.heappop(ends))
        heapq.heappush(ends, begins + length)
        waits.append(begins - at)
        busy += length
        most = max(most, len(ends))
    hours = len(load.arrivals) * rounds * SLOT / 3600
    return Outcome(len(waits), tuple(sorted(waits)), most, busy / 3600 / hours, 0.0, hours)


@dataclass(slots=True)
class _Node:
    """A machine of a cluster."""

    began: float
    ready: float
    sessions: int = 0
    empty_since: float = 0.0


class _Cluster:
    """Machines that come when launches find no room, and go when they were empty for a while."""

    def __init__(self, fit: int, spare: int, lag: float, idle: float, least: int) -> None:
        self.fit, self.spare, self.lag, self.idle, self.least = fit, spare, lag, idle, least
        self.nodes: list[_Node] = [_Node(0.0, 0.0) for _ in range(least)]
        self.seconds = 0.0
        self.coming: list[_Node] = []

    def room(self) -> _Node | None:
        """Give the fullest machine that has room: so that others become empty."""
        free = [node for node in self.nodes if node.sessions < self.fit]
        return max(free, key=lambda node: node.sessions) if free else None

    def order(self, now: float, waiting: int) -> _Node | None:
        """Order a machine where those that are there and come have too little room."""
        left = sum(self.fit - node.sessions for node in self.nodes) + self.fit * len(self.coming)
        if left >= waiting + self.spare:
            return None
        node = _Node(now, now + self.lag)
        self.coming.append(node)
        return node

    def give_back(self, now: float) -> None:
        """Give back machines that were empty for long enough, but for the room to keep."""
        for node in list(self.nodes):
            if node.sessions or now - node.empty_since < self.idle or len(self.nodes) <= self.least:
                continue
            if sum(self.fit - other.sessions for other in self.nodes) - self.fit >= self.spare:
                self.nodes.remove(node)
                self.seconds += now - node.began


def simulate_cluster(
    load: Load,
    fit: int,
    *,
    spare: int,
    lag: float,
    idle: float,
    least: int = 1,
    seed: int = 1,
    rounds: int = 1,
) -> Outcome:
    """Play machines of ``fit`` places that come ``lag`` seconds after they are needed; ``spare`` are kept free."""
    cluster = _Cluster(fit, spare, lag, idle, least)
    queue: deque[tuple[float, float]] = deque()
    happenings: list[tuple[float, int, _Node | None, float]] = []
    waits: list[float] = []
    running = most = 0
    busy, now = 0.0, 0.0
    coming = arrivals(load, random.Random(seed), rounds=rounds)  # noqa: S311 - a run must be the same each time
    _next(happenings, coming, 0)
    number = 1
    while happenings:
        now, _, node, length = heapq.heappop(happenings)
        number += 1
        if node is None:
            queue.append((now, length))
            _next(happenings, coming, number)
        elif length == 0.0:
            cluster.coming.remove(node)
            node.empty_since = now
            cluster.nodes.append(node)
        else:
            node.sessions -= 1
            running -= 1
            node.empty_since = now if not node.sessions else 0.0
        while queue and (place := cluster.room()) is not None:
            came, stays = queue.popleft()
            place.sessions += 1
            running += 1
            number += 1
            heapq.heappush(happenings, (now + stays, number, place, stays))
            waits.append(now - came)
            busy += stays
        most = max(most, running)
        while (ordered := cluster.order(now, len(queue))) is not None:
            number += 1
            heapq.heappush(happenings, (ordered.ready, number, ordered, 0.0))
        cluster.give_back(now)
    hours = len(load.arrivals) * rounds * SLOT / 3600
    seconds = cluster.seconds + sum(now - node.began for node in cluster.nodes)
    waits.sort()
    return Outcome(len(waits), tuple(waits), most, busy / 3600 / hours, seconds / 3600, hours)


def _next(
    happenings: list[tuple[float, int, _Node | None, float]], coming: Iterator[tuple[float, float]], number: int
) -> None:
    """Put the next launch among what happens."""
    launch = next(coming, None)
    if launch is not None:
        heapq.heappush(happenings, (launch[0], number, None, launch[1]))
