"""``simulate``: launches a second that the simulation of a federation goes through, at full size.

1,000 members and 10 million launches a day, with failures and crowds, for ``DAYS`` (one unless the environment says
more; 365 is a year), and a year of a federation of mybinder.org's size beside it.
"""

from __future__ import annotations

import os
import resource
import time

from benchmarks._figure import Figure, say
from binderlet.federation.simulate import Result, Simulation, World, describe, made_up, places_for, step_for
from binderlet.federation.traffic import DAY, YEAR, Load

DAYS = float(os.environ.get("DAYS", "1"))
LARGE, SMALL = 10_000_000, 25_000


def run(members: int, launches: float, days: float) -> tuple[Result, float]:
    """Simulate; gives the result and the seconds that preparing took."""
    began = time.perf_counter()
    federation, load = made_up(members), Load(launches)
    places = places_for(federation, load, 1500, 1.3)
    world = World(places, days=days, step=step_for(load, places))
    simulation = Simulation(federation, load, world)
    prepared = time.perf_counter() - began
    result = simulation.run()
    for line in describe(result):
        say(line)
    return result, prepared


def main() -> None:
    """Measure and print."""
    small, _ = run(3, SMALL, YEAR / DAY)
    large, prepared = run(1000, LARGE, DAYS)
    year = large.seconds / DAYS * YEAR / DAY
    detail = {
        "members": 1000,
        "launches a day": LARGE,
        "days": DAYS,
        "seconds to prepare": round(prepared, 1),
        "minutes for a year": round(year / 60, 1),
        "peak memory MiB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
        "a year of 3 members": {key: value for key, value in small.as_dict().items() if key != "shares"},
        "result": {key: value for key, value in large.as_dict().items() if key != "shares"},
    }
    Figure("simulate", large.launches / large.seconds, None, "launches/s", 1, detail).print()


if __name__ == "__main__":
    main()
