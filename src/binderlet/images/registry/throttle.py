"""How fast pushing may go: one stream at a time, at a rate that drops while somebody waits for this machine."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable

SLICE = 0.25
"""Seconds between looks at whether the machine is busy."""


class Throttle:
    """Paces what is sent. The engine compresses no faster than we read, so this limits its CPU, too."""

    def __init__(
        self,
        rate: int,
        yield_rate: int,
        busy: Callable[[], bool],
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._rate = rate
        self._yield_rate = yield_rate
        self._busy = busy
        self._clock = clock
        self._sleep = sleep
        self._turn = asyncio.Lock()
        self.sent = 0
        """Bytes let through."""

    async def pace(self, chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        """Pass on the chunks, not faster than allowed, and after the streams that came before."""
        async with self._turn:
            ahead = self._clock()
            async for chunk in chunks:
                yield chunk
                self.sent += len(chunk)
                ahead = await self._wait(max(ahead, self._clock() - SLICE), len(chunk))

    async def _wait(self, ahead: float, size: int) -> float:
        """Wait until so many bytes are paid for, at the rate of each moment; gives when they were."""
        left = float(size)
        while (rate := self._allowed()) and left > 0:
            seconds = min(left / rate, SLICE)
            ahead, left = ahead + seconds, left - seconds * rate
            if (pause := ahead - self._clock()) > 0:
                await self._sleep(pause)
        return ahead

    def _allowed(self) -> int:
        """Bytes per second now; 0 is no limit."""
        if not self._busy():
            return self._rate
        return min(self._rate, self._yield_rate) if self._rate else self._yield_rate
