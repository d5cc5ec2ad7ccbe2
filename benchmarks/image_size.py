"""``image_size``: bytes that an environment adds to its base, bytecode included, against plain ``pip``."""

from __future__ import annotations

import asyncio

from benchmarks._builds import THREE, bench, fresh
from benchmarks._figure import Figure

MEGABYTE = 1024**2


async def main() -> None:
    """Measure and print."""
    async with bench() as made:
        async with made.builder() as builder:
            without = made.size((await made.build(builder, fresh(THREE))).image)
            await builder.settled()
            ours = made.size((await made.build(builder, fresh(THREE))).image)
        pip = made.size((await asyncio.to_thread(made.pip, THREE)).image)
    detail = {"without_bytecode": round(without / MEGABYTE, 1)}
    Figure("image_size", ours / MEGABYTE, pip / MEGABYTE, "MB", 1, detail).print()


if __name__ == "__main__":
    asyncio.run(main())
