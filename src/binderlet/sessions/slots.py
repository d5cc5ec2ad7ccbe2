"""How many sessions start at once.

A Jupyter server's start is a second of pure CPU: ten of them on two cores all finish sooner when a few run at a
time, as the first visitors do not wait for the last.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

LONGEST_HOLD = 10.0
"""Seconds after which a start no longer counts: what takes longer waits for something else than CPU."""


def default_concurrency(cores: int | None = None) -> int:
    """Give one and a half starts per core, at least two."""
    return max(2, round(1.5 * (cores or os.cpu_count() or 1)))


class Slots:
    """Lets ``limit`` holders in at a time, first come, first served; a slow holder makes room without being stopped."""

    def __init__(self, limit: int, *, longest: float = LONGEST_HOLD) -> None:
        self._free = asyncio.Semaphore(limit)
        self._longest = longest

    @asynccontextmanager
    async def hold(self) -> AsyncIterator[None]:
        """Wait for a slot and hold it."""
        await self._free.acquire()
        timer = asyncio.get_running_loop().call_later(self._longest, self._free.release)
        try:
            yield
        finally:
            if timer.when() > asyncio.get_running_loop().time():
                timer.cancel()
                self._free.release()
