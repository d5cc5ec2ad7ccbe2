"""Hands items to a slow writer in batches, so that whoever tells a fact never waits for a disk."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

import structlog

from binderlet.errors import StoreUnavailable

log = structlog.get_logger(__name__)

T = TypeVar("T")

GATHER = 0.2
"""Seconds to wait for more items before a batch is written."""


class Outbox(Generic[T]):
    """Keeps items in order until ``write`` took them.

    While ``write`` raises ``StoreUnavailable`` items stay and are tried again; the outage is logged once. Beyond
    ``limit`` new items are dropped and counted in ``dropped``.
    """

    def __init__(
        self,
        write: Callable[[list[T]], Awaitable[None]],
        *,
        name: str,
        batch: int = 500,
        limit: int = 10_000,
        retry: float = 10.0,
    ) -> None:
        self.dropped = 0
        self._write = write
        self._name = name
        self._batch = batch
        self._limit = limit
        self._retry = retry
        self._waiting: deque[T] = deque()
        self._filled = asyncio.Event()
        self._turn = asyncio.Lock()
        self._writing: asyncio.Future[tuple[None]] | None = None
        self._failing = False

    def __len__(self) -> int:
        return len(self._waiting)

    def put(self, item: T) -> None:
        """Take an item; returns at once."""
        if len(self._waiting) >= self._limit:
            self.dropped += 1
            return
        self._waiting.append(item)
        self._filled.set()

    async def run(self) -> None:
        """Write what comes, until cancelled."""
        while True:
            await self._filled.wait()
            await asyncio.sleep(GATHER)
            if not await self._try():
                await asyncio.sleep(self._retry)

    async def close(self) -> None:
        """Write what is left; what cannot be written now is counted as dropped."""
        if not await self._try():
            self.dropped += len(self._waiting)
            self._waiting.clear()
        if self.dropped:
            log.warning("not everything was recorded", record=self._name, dropped=self.dropped)

    async def flush(self) -> None:
        """Write all that was taken before this call; raises ``StoreUnavailable`` where that fails."""
        async with self._turn:
            if self._writing is not None:  # a batch whose caller was cancelled
                await asyncio.wait([self._writing])
            while self._waiting:
                batch = [self._waiting.popleft() for _ in range(min(self._batch, len(self._waiting)))]
                await self._hand_over(batch)
            self._filled.clear()

    async def _hand_over(self, batch: list[T]) -> None:
        # gather makes it a task of its own, and wait leaves it alone: cancelling whoever waits never tears a batch.
        self._writing = writing = asyncio.gather(self._write(batch))
        await asyncio.wait([writing])
        try:
            writing.result()
        except StoreUnavailable:
            self._waiting.extendleft(reversed(batch))
            raise

    async def _try(self) -> bool:
        failed: StoreUnavailable | None = None
        try:
            await self.flush()
        except StoreUnavailable as error:
            failed = error
        if failed and not self._failing:
            log.warning("cannot record; will try again", record=self._name, error=str(failed), hint=failed.hint)
        if self._failing and not failed:
            log.info("recording again", record=self._name, dropped=self.dropped)
        self._failing = failed is not None
        return not self._failing
