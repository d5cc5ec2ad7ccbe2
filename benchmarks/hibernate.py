"""Resident memory of a hibernated session with a kernel, beside the same before; and what coming back costs."""

from __future__ import annotations

import asyncio
import statistics
import time
from typing import Any

import aiohttp

from benchmarks._crowd import ANSWER, MIB, Crowd, Kernel, count, crowd, median_mib
from benchmarks._figure import Figure, say
from binderlet.clients.cgroups import Cgroups

SESSIONS = count("SESSIONS", 6)
FRAME = "frame = bytearray(500 * 1024**2)\nfor i in range(0, len(frame), 64): frame[i] = i % 251"
"""Half a gigabyte of numbers, as a dataframe of that size has; written, so that none of it is the zero page."""


async def kernels(made: Crowd, code: str) -> None:
    """Start a kernel in each session, run the code, and leave as a closed tab does."""
    async with aiohttp.ClientSession(timeout=ANSWER) as client:
        for event in made.events:
            kernel = Kernel(client, event)
            await kernel.start()
            await kernel.execute(code)
            await kernel.close()


def reclaim(made: Crowd) -> dict[str, Any]:
    """Push each session out and give how long it took and what is left at once."""
    groups = Cgroups()
    seconds, cpu, left = [], [], []
    before = median_mib(made.usage())
    for container in made.containers():
        began, worked = time.perf_counter(), time.process_time()
        groups.reclaim(container)
        seconds.append(time.perf_counter() - began)
        cpu.append(time.process_time() - worked)
        left.append(groups.read([container])[container].resident / MIB)
    first, second = made.ask_all(at_once=1), made.ask_all(at_once=1)
    return {
        "before_mb": round(before, 1),
        "left_mb": round(statistics.median(left), 2),
        "reclaim_s": round(statistics.median(seconds), 3),
        "reclaim_cpu_s": round(statistics.median(cpu), 3),
        "first_request_s": round(statistics.median(first), 4),
        "second_request_s": round(statistics.median(second), 4),
    }


def main() -> None:
    """Measure it, plain and with half a gigabyte loaded."""
    with crowd(SESSIONS, hibernate__enabled=False) as made:
        asyncio.run(kernels(made, "import json"))
        time.sleep(5)
        plain = reclaim(made)
        say(f"with a kernel: {plain}")
        made.events = made.events[:2]
        asyncio.run(kernels(made, FRAME))
        heavy = max_container(made)
        say(f"with 500 MB: {heavy}")
    Figure(
        "hibernate", plain["left_mb"], plain["before_mb"], "MB", SESSIONS, {"plain": plain, "with_500_mb": heavy}
    ).print()


def max_container(made: Crowd) -> dict[str, float]:
    """Push out the largest session, and give what it cost."""
    groups = Cgroups()
    usage = groups.read(made.containers())
    container = max(usage, key=lambda key: usage[key].resident)
    began, worked = time.perf_counter(), time.process_time()
    groups.reclaim(container)
    seconds, cpu = time.perf_counter() - began, time.process_time() - worked
    left = groups.read([container])[container].resident
    first = max(made.ask_all(at_once=1))
    return {
        "before_mb": round(usage[container].resident / MIB, 1),
        "left_mb": round(left / MIB, 2),
        "reclaim_s": round(seconds, 3),
        "reclaim_cpu_s": round(cpu, 3),
        "first_request_s": round(first, 4),
        "second_request_s": round(max(made.ask_all(at_once=1)), 4),
    }


if __name__ == "__main__":
    main()
