"""A week of launches from a synthetic popularity curve, through the real retention code, on a store in memory.

Whose disk stays in its budget, and how many launches find their image: by worth (ours), by plain LRU, and by an
oracle that knows when each image is wanted next. All three have the same marks, admission and protection, and replay
the same launches: repositories with Zipf popularity that drifts from day to day, new commits, environments that
several repositories share. Time is simulated; nothing is built.
"""

from __future__ import annotations

import bisect
import heapq
import math
import random
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace

from benchmarks._figure import Figure, measure, say
from binderlet.events.usage import ImageUse
from binderlet.images.appraise import Claims, appraise
from binderlet.images.retention import Budget, Item, Kind, Limit, Part, Removal, Rules, Shelf, Volume, plan
from binderlet.images.stock import Stock, Stored

GB, MB = 1024**3, 1024**2
DAY = 86400.0
DAYS = 7
WARM_UP = 2
"""Days before that, which fill the store and are not counted."""
REPOSITORIES = 600
ENVIRONMENTS = 200
ZIPF = 1.1
"""How much more popular the first repository is than the second, the second than the third, and so on."""
LAUNCHES_A_DAY = 1500
COMMITS_A_DAY = 0.15
"""New commits of a repository."""
BASE = Part("base", 800 * MB)
BUDGET = Budget(60 * GB, spare=5 * GB)
HALF_LIFE = 14 * DAY
LOOK_EVERY = 60.0
SEED = 20261122

Planner = Callable[[Sequence[Item], Sequence[Limit], Rules, float], list[Removal]]


@dataclass(frozen=True)
class Environment:
    """What several repositories are built on."""

    key: str
    size: int
    seconds: float
    """To build."""


@dataclass(frozen=True)
class Launch:
    """One launch of one commit's image."""

    at: float
    image: str
    repository: str
    environment: Environment
    size: int
    """Bytes of the image's own."""
    ends_at: float


def make_launches(random_: random.Random) -> list[Launch]:
    """Draw the launches of all days, in the order in which they come."""
    environments = [
        Environment(
            f"e{number}",
            int(min(6 * GB, random_.lognormvariate(math.log(700 * MB), 0.8))),
            min(1800.0, random_.lognormvariate(math.log(60), 0.9)),
        )
        for number in range(ENVIRONMENTS)
    ]
    weights = [1 / (rank + 1) ** ZIPF for rank in range(REPOSITORIES)]
    chosen = [random_.choices(environments, [1 / (rank + 1) for rank in range(ENVIRONMENTS)])[0] for _ in weights]
    own = [int(min(GB, random_.lognormvariate(math.log(20 * MB), 1.2))) for _ in weights]
    commits = [0] * REPOSITORIES
    launches: list[Launch] = []
    for day in range(WARM_UP + DAYS):
        # Courses begin and end: each day's weights are the long-term ones times a factor of the day.
        today = [weight * random_.lognormvariate(0, 0.7) for weight in weights]
        commits = [commit + (random_.random() < COMMITS_A_DAY) for commit in commits]
        for _ in range(LAUNCHES_A_DAY):
            (repository,) = random_.choices(range(REPOSITORIES), today)
            at = day * DAY + (random_.betavariate(4, 3) * DAY)
            image = f"r{repository}:{commits[repository]}"
            ends = at + random_.uniform(600, 5400)
            launches.append(Launch(at, image, f"r{repository}", chosen[repository], own[repository], ends))
    return sorted(launches, key=lambda launch: launch.at)


@dataclass
class Score:
    """How one way of choosing did."""

    launches: int = 0
    hits: int = 0
    refused: int = 0
    """Launches whose build was refused because the disk was tight."""
    build_seconds: float = 0.0
    peak: int = 0
    """Most bytes that there ever were."""
    removed: int = 0

    @property
    def hit_rate(self) -> float:
        """Give the share of launches that found their image."""
        return self.hits / self.launches


@dataclass
class Store:
    """What is kept, with the books that the history would have."""

    images: dict[str, Stored] = field(default_factory=dict)
    parts: dict[str, tuple[Part, ...]] = field(default_factory=dict)
    uses: dict[str, ImageUse] = field(default_factory=dict)
    running: list[tuple[float, str]] = field(default_factory=list)
    used: int = BASE.size
    sharers: dict[str, int] = field(default_factory=dict)

    def add(self, name: str, kind: Kind, environment: Environment, own: int, now: float) -> None:
        """Keep a new image."""
        parts = [BASE, Part(environment.key, environment.size)]
        if kind is Kind.IMAGE:
            parts.append(Part(f"own {name}", own))
        labels = {"binderlet.environment": environment.key}
        size = sum(part.size for part in parts)
        self.images[name] = Stored(f"sha256:{name}", (name,), kind, size, now, labels)
        self.parts[f"sha256:{name}"] = tuple(parts)
        for part in parts[1:]:
            self.sharers[part.id] = self.sharers.get(part.id, 0) + 1
            if self.sharers[part.id] == 1:
                self.used += part.size

    def remove(self, name: str) -> None:
        """Remove an image; shared bytes go with the last one that has them."""
        image = self.images.pop(name)
        for part in self.parts.pop(image.id)[1:]:
            self.sharers[part.id] -= 1
            if not self.sharers[part.id]:
                self.used -= part.size

    def items(self, now: float) -> list[Item]:
        """Give all of it as the housekeeper would see it."""
        while self.running and self.running[0][0] <= now:
            heapq.heappop(self.running)
        in_use = frozenset(f"sha256:{name}" for _, name in self.running)
        stock = Stock(tuple(self.images.values()), self.parts, in_use, ())
        claims = Claims(popular=20, popular_room=BUDGET.total // 2)
        base = Item("base", Kind.BASE, "base", (BASE,), "disk", keep="builds use it as their base")
        found = appraise(stock, self.uses, lambda _item, _names: "", claims, now=now, half_life=HALF_LIFE)
        return [base, *(replace(item, volume="disk") for item in found)]


def replay(launches: Sequence[Launch], planner: Planner) -> Score:
    """Let all launches come, one after the other."""
    store, score = Store(), Score()
    looked_at = 0.0
    for launch in launches:
        counts = launch.at >= WARM_UP * DAY
        if launch.at - looked_at >= LOOK_EVERY:
            tidy(store, planner, launch.at, score)
            looked_at = launch.at
        found = launch.image in store.images
        if not found:
            if BUDGET.room(volumes(store)) < BUDGET.spare:
                tidy(store, planner, launch.at, score)
            if BUDGET.room(volumes(store)) < BUDGET.spare:
                score.refused += counts
                score.launches += counts
                continue
            score.build_seconds += build(store, launch) * counts
        score.peak = max(score.peak, store.used)
        score.launches += counts
        score.hits += found and counts
        use = store.uses.setdefault(launch.image, ImageUse(launch.repository))
        use.launches.append((launch.at, 1))
        use.last_launch = launch.at
        heapq.heappush(store.running, (launch.ends_at, launch.image))
    return score


def build(store: Store, launch: Launch) -> float:
    """Build what is missing and give the seconds that it takes."""
    environment, seconds = launch.environment, 3.0
    if f"env {environment.key}" not in store.images:
        store.add(f"env {environment.key}", Kind.ENVIRONMENT, environment, 0, launch.at)
        seconds += environment.seconds
    store.add(launch.image, Kind.IMAGE, environment, launch.size, launch.at)
    before = store.uses.get(launch.image, ImageUse())
    store.uses[launch.image] = replace(before, repository=launch.repository, build_seconds=seconds)
    return seconds


def volumes(store: Store) -> list[Volume]:
    """Give the one file system there is: far larger than the budget."""
    return [Volume("disk", store.used, 1000 * GB)]


def tidy(store: Store, planner: Planner, now: float, score: Score) -> None:
    """Do what the housekeeper does at each look."""
    limits = BUDGET.limits(volumes(store))
    if all(limit.used <= limit.start for limit in limits):
        return
    rules = Rules(half_life=HALF_LIFE, owner_share=0.25, budget=BUDGET.total)
    for step in planner(store.items(now), limits, rules, now):
        for item in step.items:
            store.remove(item.name)
            score.removed += 1


def least_recently_used(items: Sequence[Item], limits: Sequence[Limit], rules: Rules, now: float) -> list[Removal]:
    """Remove what was not used for longest; an environment was used whenever something on it was."""
    shelf, steps = Shelf(items, rules, now), []
    excess = max(limit.used - limit.stop for limit in limits)
    for item in sorted(items, key=lambda item: (item.last_used, -len(item.parts))):
        if excess <= 0:
            break
        if not shelf.keep(item):
            freed = shelf.frees([item])
            shelf.remove([item])
            excess -= freed
            steps.append(Removal((item,), freed, 0.0, "it was not used for longest"))
    return steps


def clairvoyant(launches: Sequence[Launch]) -> Planner:
    """Give a planner that knows when each image, and each environment, is wanted next."""
    wanted: dict[str, list[float]] = {}
    for launch in launches:
        wanted.setdefault(launch.image, []).append(launch.at)
        wanted.setdefault(f"env {launch.environment.key}", []).append(launch.at)

    def soonness(name: str, now: float) -> float:
        times: Collection[float] = wanted.get(name, ())
        index = bisect.bisect_right(list(times), now) if times else 0
        ahead = list(times)[index : index + 1]
        return 1 / max(1.0, ahead[0] - now) if ahead else 0.0

    def choose(items: Sequence[Item], limits: Sequence[Limit], rules: Rules, now: float) -> list[Removal]:
        known = [replace(item, popularity=soonness(item.name, now)) for item in items]
        return plan(known, limits, rules, now)

    return choose


def main() -> None:
    """Replay the week three times and print the figure."""
    launches = make_launches(random.Random(SEED))  # noqa: S311 - a simulation
    planners: Mapping[str, Planner] = {"ours": plan, "lru": least_recently_used, "oracle": clairvoyant(launches)}
    scores: dict[str, Score] = {}
    for name, planner in planners.items():
        scores[name] = Score()

        def run(name: str = name, planner: Planner = planner) -> None:
            scores[name] = replay(launches, planner)

        seconds = measure(run)
        score = scores[name]
        share = score.peak / BUDGET.total
        say(f"{name}: hit rate {score.hit_rate:.4f}, peak {share:.3f} of the budget, {seconds:.1f} s")
    assert all(score.peak <= BUDGET.total for score in scores.values()), "the budget was passed"
    whole = {launch.image: launch.size for launch in launches}
    environments = {launch.environment.key: launch.environment.size for launch in launches}
    Figure(
        "disk_budget",
        ours=scores["ours"].hit_rate,
        reference=scores["lru"].hit_rate,
        unit="share of launches that find their image; reference: LRU",
        runs=1,
        detail={
            "budget_gb": BUDGET.total / GB,
            "everything_gb": round((sum(whole.values()) + sum(environments.values()) + BASE.size) / GB, 1),
            "launches": scores["ours"].launches,
            "images": len(whole),
            **{
                name: {
                    "hit_rate": round(score.hit_rate, 4),
                    "peak_of_budget": round(score.peak / BUDGET.total, 4),
                    "build_hours": round(score.build_seconds / 3600, 2),
                    "refused": score.refused,
                    "removed": score.removed,
                }
                for name, score in scores.items()
            },
        },
    ).print()


if __name__ == "__main__":
    main()
