"""``startup_imports``: first import of numpy, pandas and matplotlib in a fresh container.

Ours has the bytecode that came with the wheels from the shared cache; the reference is the same environment without.
"""

from __future__ import annotations

import asyncio
import statistics

from benchmarks._builds import THREE, Bench, bench, fresh
from benchmarks._figure import Figure, say, summary
from support.tiny_base import docker

RUNS = 7
IMPORT = "import time; t = time.perf_counter(); import numpy, pandas, matplotlib.pyplot; print(time.perf_counter() - t)"


def first_import(made: Bench, image: str) -> float:
    """Import in a container of its own, as a session's first cell would."""
    return float(docker(made.tools.program, "run", "--rm", "--network", "none", image, "python", "-c", IMPORT))


async def main() -> None:
    """Measure and print."""
    async with bench() as made:
        async with made.builder() as builder:
            without = (await made.build(builder, fresh(THREE))).image
            await builder.settled()
            ours = (await made.build(builder, fresh(THREE))).image
        images = {"ours": ours, "without": without, "pip": (await asyncio.to_thread(made.pip, THREE)).image}
        seconds: dict[str, list[float]] = {name: [] for name in images}
        for number in range(RUNS):
            for name, image in images.items():
                seconds[name].append(await asyncio.to_thread(first_import, made, image))
            say(f"{number + 1}/{RUNS}: { ({name: round(found[-1], 2) for name, found in seconds.items()}) }")
    median = {name: statistics.median(found) for name, found in seconds.items()}
    detail = {name: summary(found) for name, found in seconds.items()}
    Figure("startup_imports", median["ours"], median["without"], "s", RUNS, detail).print()


if __name__ == "__main__":
    asyncio.run(main())
