"""``build_requirements``: numpy, pandas and matplotlib with an empty package cache, against plain ``pip``.

Reference: ``pip install`` in a Dockerfile on the same base, in the same run. The detail has the warm cache, with the
wheels' bytecode in it, and where the time goes.
"""

from __future__ import annotations

import asyncio
import statistics

from benchmarks._builds import THREE, Built, bench, fresh
from benchmarks._figure import Figure, say, summary

RUNS = 3


async def measure() -> None:
    """Measure and print."""
    cold: list[Built] = []
    warm: list[Built] = []
    pip: list[Built] = []
    async with bench() as made:
        for number in range(RUNS):
            async with made.builder() as builder:
                cold.append(await made.build(builder, fresh(THREE)))
                await builder.bytecode.wait()
                warm.append(await made.build(builder, fresh(THREE)))
                await builder.bytecode.wait()
            pip.append(await asyncio.to_thread(made.pip, THREE))
            times = ", ".join(f"{name} {runs[-1].seconds:.2f} s" for name, runs in named(cold, warm, pip))
            say(f"{number + 1}/{RUNS}: {times}")
    median = {name: statistics.median(run.seconds for run in runs) for name, runs in named(cold, warm, pip)}
    detail = {
        name: {"seconds": summary([run.seconds for run in runs]), "parts": runs[-1].parts}
        for name, runs in named(cold, warm, pip)
    }
    more = {"ratio_warm": round(median["warm"] / median["pip"], 4)}
    Figure("build_requirements", median["cold"], median["pip"], "s", RUNS, detail | more).print()


def named(cold: list[Built], warm: list[Built], pip: list[Built]) -> list[tuple[str, list[Built]]]:
    """Name the series."""
    return [("cold", cold), ("warm", warm), ("pip", pip)]


if __name__ == "__main__":
    asyncio.run(measure())
