"""A federation over a year: the redirector's own choosing before members that fail, fill up and come back.

Time goes in steps (a minute by default). In each step launches arrive and are given to members by the weights that
redirectors would have; a member that fails loses the launches until its next probe; one that is full lets them wait
in its queue, and refuses what the queue does not hold. Everything a redirector does is done by ``vector.py``, which
gives what ``pick.py`` and ``weights.py`` give. What is simplified: a probe's answer is as old as the step, sessions end
after exponential times, and a visitor whose launch is lost does not try again.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from binderlet.federation.config import Balance, Federation
from binderlet.federation.pick import entry
from binderlet.federation.redirector import RECENT
from binderlet.federation.traffic import DAY, Load, Traffic
from binderlet.federation.vector import Draws, busy_members, load_numpy, room_factors, start_factors

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Ints = NDArray[np.int64]
    Floats = NDArray[np.float64]

HORIZON = 1e18
WAIT_BINS = 200
SHORTEST, LONGEST = 5.0, 60.0
"""Seconds of a step."""
LOVED, PART = 0.1, 0.3
"""The part of all launches that one repository may have, and of a member's places that it may take in a step."""
WAIT_LARGEST = 24 * 3600.0


@dataclass(frozen=True, slots=True)
class World:
    """What members are like."""

    places: Sequence[int]
    """Sessions that each member holds, in the file's order."""
    session_seconds: float = 1500.0
    queue: int = 200
    """Launches that a member lets wait."""
    failures_per_month: float = 0.5
    """Of each member."""
    repair_seconds: float = 3600.0
    step: float = 60.0
    days: float = 365.0
    seed: int = 1


@dataclass(slots=True)
class Result:
    """What came of it."""

    members: int = 0
    days: float = 0.0
    launches: int = 0
    lost: int = 0
    """Sent to a member that had failed, before its next probe."""
    refused: int = 0
    """Sent to a member whose queue was full."""
    moved: int = 0
    """Given to another member than the one that has them when all is well."""
    built: int = 0
    """Sent to a member that had never had the repository: an image is built there."""
    waited: int = 0
    wait_mean: float = 0.0
    """Seconds, over all launches."""
    wait_p99: float = 0.0
    cut: int = 0
    """Sessions that ended because their member failed."""
    failures: int = 0
    crowds: int = 0
    fullest: float = 0.0
    """Largest part of all places that was taken."""
    share_error: float = 0.0
    """Largest difference between a member's share and its part of the weights, in percentage points."""
    seconds: float = 0.0
    shares: list[float] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        """Give it for JSON."""
        return asdict(self)


class Simulation:
    """One run."""

    def __init__(self, federation: Federation, load: Load, world: World) -> None:
        self._np = np = load_numpy()
        self._random = np.random.default_rng(world.seed)
        self._federation, self._world = federation, world
        members = federation.members
        entries = [entry(name, member.url, max(member.weight, 1e-12)) for name, member in members.items()]
        keys = [b"/build/gh/owner%d/repo%d" % (number % 997, number) for number in range(load.repositories)]
        self._traffic = Traffic(load, np, self._random)
        self._draws = Draws(keys, entries)
        self._configured: Floats = np.array([member.weight for member in members.values()])
        self._homes: Ints = self._draws.choose(np.arange(load.repositories), self._configured)
        self._having = np.zeros((load.repositories, len(entries)), dtype=bool)
        self._places: Ints = np.array(world.places, dtype=np.int64)
        count = len(entries)
        self._running: Ints = np.zeros(count, dtype=np.int64)
        self._queued: Ints = np.zeros(count, dtype=np.int64)
        self._back_at: Floats = np.full(count, -HORIZON)
        self._fails_at: Floats = self._next_failures(count)
        self._seen_back_at: Floats = np.full(count, -HORIZON)
        """Until when each member is out, as redirectors see it."""
        self._recent: Floats = np.zeros(count)
        self._given_to = self._configured > 0
        self._given: Ints = np.zeros(count, dtype=np.int64)
        self._waits = np.zeros(WAIT_BINS)
        self.result = Result(members=count, days=world.days)

    def _next_failures(self, count: int) -> Floats:
        pause = 30 * DAY / max(self._world.failures_per_month, 1e-12)
        found: Floats = self._random.exponential(pause, count)
        return found

    def run(self, progress: Callable[[float], None] = lambda _part: None) -> Result:
        """Run all of it; ``progress`` is told the part that is done, once a simulated day."""
        began, world = time.perf_counter(), self._world
        steps = math.ceil(world.days * DAY / world.step)
        daily = max(1, round(DAY / world.step))
        for number in range(steps):
            self._step(number * world.step)
            if number % daily == 0:
                progress(number / steps)
        self._finish()
        self.result.seconds = time.perf_counter() - began
        return self.result

    def _step(self, now: float) -> None:
        np, world = self._np, self._world
        repositories = self._traffic.step(now, world.step)
        self.result.launches += len(repositories)
        weights = self._weights(now)
        rows, counts = np.unique(repositories, return_counts=True)
        chosen = self._choose(rows, weights)
        arrivals: Ints = np.bincount(chosen, weights=counts, minlength=len(weights)).astype(np.int64)
        self._given += arrivals
        self._recent = self._recent * math.exp(-world.step / RECENT) + arrivals
        self.result.moved += int(counts[chosen != self._homes[rows]].sum())
        self.result.built += int((~self._having[rows, chosen]).sum())
        self._having[rows, chosen] = True
        arrivals -= self._fail(now, arrivals)
        self._serve(arrivals)

    def _weights(self, now: float) -> Floats:
        """Give the weights that redirectors have now; where nobody may get anything, the configured ones."""
        spread = self._federation.spread
        up = self._seen_back_at <= now
        factors = room_factors(self._places, self._running + self._queued, spread)
        weights: Floats = self._configured * up * factors * start_factors(self._back_at, now, spread.slow_start)
        if not weights.any():
            weights = self._configured * up if up.any() else self._configured
        return weights

    def _choose(self, rows: Ints, weights: Floats) -> Ints:
        if self._federation.load_balancer is Balance.RANDOM:
            found: Ints = self._random.choice(len(weights), len(rows), p=weights / weights.sum())
            return found
        given = weights > 0
        if (given != self._given_to).any():
            # As the redirector does: what others got meanwhile is not made up for.
            self._recent[:] = 0
            self._given_to = given
        busy = busy_members(self._recent, weights, self._federation.spread.bound)
        homes = self._draws.spill(rows, self._draws.choose(rows, weights), weights, busy)
        if not self._federation.spread.images:
            return homes
        return self._draws.prefer(rows, homes, weights, self._having, busy)

    def _fail(self, now: float, arrivals: Ints) -> Ints:
        """Let members fail whose time has come; gives the launches of this step that are lost with them."""
        np, world, check = self._np, self._world, self._federation.check
        lost: Ints = np.zeros(len(arrivals), dtype=np.int64)
        failing = np.flatnonzero(self._fails_at < now + world.step)
        for member in failing:
            unseen = self._random.uniform(0, check.period) + self._random.choice([0.0, check.timeout])
            repair = self._random.exponential(world.repair_seconds)
            back = now + repair + self._random.uniform(0, check.failed_period) + (check.rise - 1) * check.confirm
            # What comes after the probe is chosen anew by the next step's weights; within the step it moves at once.
            lost[member] = self._random.binomial(arrivals[member], min(1.0, unseen / world.step))
            self.result.cut += int(self._running[member])
            self._running[member] = 0
            self.result.lost += int(self._queued[member])
            self._queued[member] = 0
            self._seen_back_at[member] = self._back_at[member] = back
            self._fails_at[member] = back + self._next_failures(1)[0]
            self.result.failures += 1
            self._move_rest(member, arrivals, lost)
        self.result.lost += int(lost.sum())
        return lost

    def _move_rest(self, member: int, arrivals: Ints, lost: Ints) -> None:
        """Give what a failed member would have got after its probe to the others, by their weights."""
        rest = int(arrivals[member] - lost[member])
        others = self._configured.copy()
        others[member] = 0
        if rest and others.any():
            moved = self._random.multinomial(rest, others / others.sum())
            arrivals[member] -= rest
            arrivals += moved
            self.result.moved += rest

    def _serve(self, arrivals: Ints) -> None:
        """Let sessions end and begin, and let wait what has no place."""
        np, world = self._np, self._world
        ended = self._random.binomial(self._running, 1 - math.exp(-world.step / world.session_seconds))
        self._running -= ended
        admitted = np.minimum(self._queued + arrivals, np.maximum(0, self._places - self._running))
        self._running += admitted
        queued = self._queued + arrivals - admitted
        refused = np.maximum(0, queued - world.queue)
        self.result.refused += int(refused.sum())
        self._queued = queued - refused
        self.result.fullest = max(self.result.fullest, float(self._running.sum() / self._places.sum()))
        if self._queued.any():
            self._count_waits(np.minimum(arrivals, self._queued))

    def _count_waits(self, arrivals: Ints) -> None:
        """Note how long each launch that waits will: its place in the queue over the rate at which sessions end."""
        np, world = self._np, self._world
        ends = np.maximum(1, self._places) / world.session_seconds
        for member in np.flatnonzero(arrivals):
            last = int(self._queued[member])
            positions = np.arange(last - int(arrivals[member]) + 1, last + 1)
            waits = positions / ends[member]
            self.result.waited += len(waits)
            self.result.wait_mean += float(waits.sum())
            bins = np.minimum(WAIT_BINS - 1, (np.log1p(waits) / math.log1p(WAIT_LARGEST) * WAIT_BINS).astype(int))
            np.add.at(self._waits, bins, 1)

    def _finish(self) -> None:
        np, result = self._np, self.result
        launches = max(1, result.launches)
        result.wait_mean /= launches
        over = np.cumsum(self._waits[::-1])[::-1]
        beyond = np.flatnonzero(over > launches * 0.01)
        result.wait_p99 = (
            math.expm1((int(beyond[-1]) + 0.5) / WAIT_BINS * math.log1p(WAIT_LARGEST)) if len(beyond) else 0
        )
        shares = self._given / launches
        result.shares = [round(float(share), 5) for share in shares]
        wanted = self._configured / self._configured.sum()
        result.share_error = float(np.abs(shares - wanted).max() * 100)
        result.crowds = self._traffic.crowds


def made_up(members: int, seed: int = 1) -> Federation:
    """Make a federation of members of many sizes."""
    random = load_numpy().random.default_rng(seed)
    weights = random.lognormal(0, 0.7, members)
    body = {
        f"m{number}": {"url": f"https://m{number}.example.org", "weight": float(weight), "prime": number == 0}
        for number, weight in enumerate(weights)
    }
    return Federation.model_validate({"members": body})


def places_for(federation: Federation, load: Load, session_seconds: float, room: float) -> list[int]:
    """Give places by weight, so that all together hold ``room`` times the sessions of the busiest usual hour."""
    busiest = load.launches_per_day / DAY * 1.9 * session_seconds
    total = sum(member.weight for member in federation.members.values())
    return [max(4, round(room * busiest * member.weight / total)) for member in federation.members.values()]


def step_for(load: Load, places: Sequence[int]) -> float:
    """Give seconds of a step in which one loved repository fills no more than a part of a usual member.

    All launches of a repository in one step go to one member, where a redirector would look again every second.
    """
    loved = LOVED * load.launches_per_day / DAY
    return max(SHORTEST, min(LONGEST, PART * sum(places) / len(places) / loved))


def describe(result: Result) -> list[str]:
    """Say it in lines."""
    launches = max(1, result.launches)

    def part(count: int) -> str:
        """Give a count with its part of all launches."""
        return f"{count:,} ({count / launches * 100:.4g}%)"

    return [
        f"{result.members} members, {result.days:g} days, {result.launches:,} launches in {result.seconds:.1f} s",
        f"failures of members: {result.failures:,}; sessions cut by them: {result.cut:,}; crowds: {result.crowds:,}",
        f"lost:    {part(result.lost)}: sent to a member that had failed, before its next probe",
        f"refused: {part(result.refused)}: the queue of a full member was full",
        f"moved:   {part(result.moved)}: not where their repository is when all is well",
        f"built:   {part(result.built)}: no image there yet",
        f"waited:  {part(result.waited)}; mean {result.wait_mean:.2f} s, 99 of 100 within {result.wait_p99:.0f} s",
        f"fullest: {result.fullest:.0%} of all places",
        f"shares:  at most {result.share_error:.2f} percentage points from the weights",
    ]
