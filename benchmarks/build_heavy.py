"""``build_heavy``: an environment of about 2 GB, with a warm package cache, against plain ``pip``; one run of each.

The detail says where the time goes: the installation beside the export of its layer, and the same with a cold cache.
Environments share no layers here: all of it is installed and exported.
"""

from __future__ import annotations

import asyncio

from benchmarks._builds import HEAVY, bench, fresh
from benchmarks._figure import Figure, say


async def main() -> None:
    """Measure and print."""
    async with bench() as made, made.builder(bytecode=False, shared=False) as builder:
        cold = await made.build(builder, fresh(HEAVY))
        say(f"cold {cold.seconds:.1f} s: {cold.parts}")
        size = made.size(cold.image)
        made.clean()
        await builder.settled()  # new wheels come into the package cache after the build
        warm = await made.build(builder, fresh(HEAVY))
        say(f"warm {warm.seconds:.1f} s: {warm.parts}")
        made.clean()
        pip = await asyncio.to_thread(made.pip, HEAVY)
        say(f"pip {pip.seconds:.1f} s: {pip.parts}")
        detail = {
            "cold": {"seconds": round(cold.seconds, 2), "parts": cold.parts},
            "warm": {"parts": warm.parts},
            "pip": {"parts": pip.parts},
            "megabytes": {"ours": size // 1024**2, "pip": made.size(pip.image) // 1024**2},
        }
    Figure("build_heavy", warm.seconds, pip.seconds, "s", 1, detail).print()


if __name__ == "__main__":
    asyncio.run(main())
