"""A kernel round trip while some of many sessions work, beside the same few sessions alone."""

from __future__ import annotations

import asyncio
import random

import aiohttp

from benchmarks._crowd import ANSWER, Crowd, Kernel, count, crowd, share
from benchmarks._figure import Figure, say
from support.service import Event

SESSIONS = count("SESSIONS", 200)
WORKING = count("WORKING", 20)
STEPS = count("STEPS", 10)
PAUSE = 3.0
STEP = "import json\nsum(len(json.dumps({'row': i, 'square': i * i})) for i in range(20000))"


async def work(events: list[Event]) -> list[float]:
    """Let each of the sessions do its steps, a few seconds apart; gives the seconds of all."""
    seconds: list[float] = []
    async with aiohttp.ClientSession(timeout=ANSWER) as client:

        async def one(event: Event) -> None:
            kernel = Kernel(client, event)
            await kernel.start()
            for _ in range(STEPS):
                await asyncio.sleep(random.uniform(0.5, 1.5) * PAUSE)  # noqa: S311 - people are not in step
                seconds.append(await kernel.execute(STEP))
            await kernel.close()

        await asyncio.gather(*map(one, events))
    return seconds


def shifts(made: Crowd, count: int) -> list[float]:
    """Let different sessions work, one shift after the other."""
    found: list[float] = []
    for number in range(count):
        events = random.sample(made.events, min(WORKING, len(made.events)))
        found += asyncio.run(work(events))
        made.look(f"shift {number + 1} of {count}")
    return found


def main() -> None:
    """Measure the few alone, then among the many."""
    with crowd(WORKING) as made:
        alone = shifts(made, 1)
    say(f"alone: p95 {share(alone, 0.95):.3f} s")
    with crowd(SESSIONS) as made:
        made.wait_hibernated()
        among = shifts(made, 3)
    detail = {
        "sessions": SESSIONS,
        "working": WORKING,
        "p50_s": round(share(among, 0.5), 4),
        "p50_alone_s": round(share(alone, 0.5), 4),
        "least_available_gb": round(made.lowest / 1024**3, 2),
    }
    Figure("density_active", share(among, 0.95), share(alone, 0.95), "s (p95)", len(among), detail).print()


if __name__ == "__main__":
    main()
