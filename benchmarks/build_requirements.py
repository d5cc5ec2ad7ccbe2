"""``build_requirements``: numpy, pandas and matplotlib with an empty package cache, against plain ``pip``.

Reference: ``pip install`` in a Dockerfile on the same base, in the same run. The detail has where the time goes, and
the same packages for a second repository once the background work after the first build is done: ``warm``, with the
layers that environments share, and ``warm_unshared``, where the setting for these is off, so that all is installed and
exported anew from the package cache.
"""

from __future__ import annotations

import asyncio
import statistics

from benchmarks._builds import THREE, Built, bench, fresh
from benchmarks._figure import Figure, say, summary

RUNS = 5


async def measure() -> None:
    """Measure and print."""
    runs: dict[str, list[Built]] = {"cold": [], "warm": [], "warm_unshared": [], "pip": []}
    async with bench() as made:
        for number in range(RUNS):
            async with made.builder() as builder:
                runs["cold"].append(await made.build(builder, fresh(THREE)))
                await builder.settled()
                runs["warm"].append(await made.build(builder, fresh(THREE)))
                await builder.settled()
            async with made.builder(shared=False) as builder:
                await made.build(builder, fresh(THREE))
                await builder.settled()
                runs["warm_unshared"].append(await made.build(builder, fresh(THREE)))
            runs["pip"].append(await asyncio.to_thread(made.pip, THREE))
            say(f"{number + 1}/{RUNS}: " + ", ".join(f"{name} {of[-1].seconds:.2f} s" for name, of in runs.items()))
    median = {name: statistics.median(run.seconds for run in of) for name, of in runs.items()}
    detail = {
        name: {"seconds": summary([run.seconds for run in of]), "parts": of[-1].parts} for name, of in runs.items()
    }
    more = {f"ratio_{name}": round(median[name] / median["pip"], 4) for name in ("warm", "warm_unshared")}
    Figure("build_requirements", median["cold"], median["pip"], "s", RUNS, detail | more).print()


if __name__ == "__main__":
    asyncio.run(measure())
