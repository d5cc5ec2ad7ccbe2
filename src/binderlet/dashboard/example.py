"""Makes example archives: launches of a made-up federation, always the same for the same seed. Nothing was measured.

The shape is that of a public Binder: few repositories have most launches, more at work time than at night, fewer at the
weekend, semesters and holidays, here and there a workshop; a member joins, another leaves.
"""

from __future__ import annotations

import json
import math
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from itertools import accumulate
from pathlib import Path

from binderlet.dashboard.tallies import MINUTES

DAY_SHAPE = [0.45 + 0.55 * math.exp(-(((hour - 14) / 4.5) ** 2)) for hour in range(24)]
"""Share of each hour (UTC), the busiest being 1."""


@dataclass(frozen=True, slots=True)
class ExampleMember:
    """A member of the made-up federation."""

    name: str
    weight: float
    joins: int = 0
    """Days after the first one."""
    leaves: int = 100_000
    ramp: int = 5
    """Days until it has its whole weight."""

    def weight_on(self, day: int) -> float:
        """Give its weight on a day."""
        if not self.joins <= day < self.leaves:
            return 0.0
        return self.weight * min(1.0, (day - self.joins + 1) / self.ramp)


MEMBERS = (
    ExampleMember("north.example.org", 30),
    ExampleMember("south.example.org", 20, leaves=250),
    ExampleMember("vm.example.org", 70, joins=120),
)
REPOSITORIES = 4000
NEW_COMMITS = 7
"""Days after which repositories have new commits."""
REQUEST_ORIGINS = ("https://mybinder.example.org", "same-origin", "cross-site", "https://book.example.org", "")


def example_events(
    first: date, days: int, per_day: float, *, seed: int = 1, members: Sequence[ExampleMember] = MEMBERS
) -> Iterator[tuple[date, list[bytes]]]:
    """Yield each day with its lines, in the form of the public archive."""
    chance = random.Random(seed)  # noqa: S311 - an example must be the same each time
    kinds = [_kind(chance, number) for number in range(REPOSITORIES)]
    popularity = list(accumulate(1 / (number + 3) ** 1.05 for number in range(REPOSITORIES)))
    for number in range(days):
        day = first + timedelta(number)
        weights = list(accumulate(member.weight_on(number) for member in members))
        count = round(per_day * season(day) * chance.uniform(0.9, 1.1))
        minutes = sorted(_minutes(chance, count))
        served = chance.choices(members, cum_weights=weights, k=count)
        asked = chance.choices(kinds, cum_weights=popularity, k=count)
        if not number % NEW_COMMITS:
            kinds = [(provider, spec, f"{chance.getrandbits(160):040x}") for provider, spec, _ in kinds]
        yield (
            day,
            [
                line(day, minute, member.name, kind, chance.choice(REQUEST_ORIGINS))
                for minute, member, kind in zip(minutes, served, asked, strict=True)
            ],
        )


def season(day: date) -> float:
    """Give how busy a day is beside an average one: weekends, summer and the turn of the year are quiet."""
    week = (1.15, 1.2, 1.2, 1.15, 1.05, 0.6, 0.65)[day.weekday()]
    year = 1 + 0.25 * math.cos((day.timetuple().tm_yday - 105) / 365 * 4 * math.pi)
    quiet = 0.5 if (day.month, day.day) >= (12, 22) or (day.month, day.day) <= (1, 3) else 1.0
    return week * year * quiet


def _minutes(chance: random.Random, count: int) -> list[int]:
    """Draw when launches come: by the hour's share, and on some days a workshop's all at once."""
    hours = chance.choices(range(24), weights=DAY_SHAPE, k=count)
    minutes = [hour * 60 + chance.randrange(60) for hour in hours]
    if chance.random() < 0.05:  # noqa: PLR2004 - a workshop every twenty days
        at = chance.randrange(8 * 60, 17 * 60)
        for index in range(min(count, chance.randrange(20, 120))):
            minutes[index] = at + chance.randrange(10)
    return [minute % MINUTES for minute in minutes]


def _kind(chance: random.Random, number: int) -> tuple[str, str, str]:
    """Make up a repository: provider, spec and commit."""
    ref = f"{chance.getrandbits(160):040x}"
    provider = chance.choices(("GitHub", "GitLab", "Gist", "Git", "Zenodo"), weights=(90, 4, 3, 2, 1))[0]
    owner, name = f"owner-{number % 977}", f"notebooks-{number}"
    spec = {
        "GitHub": f"{owner}/{name}/{chance.choice(('HEAD', 'main', 'master', 'v1.0'))}",
        "GitLab": f"{owner}%2F{name}/main",
        "Gist": f"{owner}/{ref[:32]}",
        "Git": f"https%3A%2F%2Fgit.example.org%2F{owner}%2F{name}/{ref}",
        "Zenodo": f"10.5281/zenodo.{1_000_000 + number}",
    }[provider]
    return provider, spec, ref


def line(day: date, minute: int, member: str, kind: tuple[str, str, str], request_origin: str) -> bytes:
    """Write an event as the public archive has it."""
    provider, spec, ref = kind
    event = {
        "timestamp": f"{day}T{minute // 60:02}:{minute % 60:02}:00+00:00",
        "schema": "binderhub.jupyter.org/launch",
        "version": 6,
        "provider": provider,
        "spec": spec,
        "ref": ref,
        "status": "success",
        "build_token": True,
        "origin": member,
        "request_origin": request_origin,
    }
    return json.dumps(event).encode() + b"\n"


def write_example(folder: Path, first: date, days: int, per_day: float, *, seed: int = 1) -> int:
    """Write an example archive with its index, and give the number of launches in it."""
    folder.mkdir(parents=True, exist_ok=True)
    total, index = 0, []
    for day, lines in example_events(first, days, per_day, seed=seed):
        name = f"events-{day}.jsonl"
        (folder / name).write_bytes(b"".join(lines))
        index.append(json.dumps({"name": name, "date": str(day), "count": str(len(lines))}) + "\n")
        total += len(lines)
    (folder / "index.jsonl").write_text("".join(index), "utf-8")
    return total
