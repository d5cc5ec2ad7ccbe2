"""Whether the registry answers: asked now and then, and told by whoever uses it."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable

import structlog

from binderlet.errors import BinderletError

log = structlog.get_logger(__name__)

WHILE_UP = 60.0
"""Seconds between questions while it answers; each costs the storage a few requests."""
WHILE_DOWN = 3.0
PATIENCE = 15.0
"""Seconds one question may take."""


class Pulse:
    """One registry's. Begins as answering: the first question settles it."""

    def __init__(
        self,
        ask: Callable[[], Awaitable[str]],
        *,
        revive: Callable[[], Awaitable[object]] | None = None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._ask = ask
        self._revive = revive
        self._clock = clock
        self._sleep = sleep
        self._up = asyncio.Event()
        self._up.set()
        self.words = ""
        """What it said last."""
        self.error: BinderletError | None = None
        """Why it is down."""
        self.down_since: float | None = None
        """On the clock; None while it answers."""
        self.outages = 0

    async def run(self) -> None:
        """Ask again and again, until cancelled."""
        while True:
            await self.look()
            await self._sleep(WHILE_UP if self.down_since is None else WHILE_DOWN)

    async def look(self) -> None:
        """Ask once; one that is down is started again first, where it is ours."""
        try:
            async with asyncio.timeout(PATIENCE):
                if self._revive is not None:
                    await self._revive()
                words = await self._ask()
        except BinderletError as error:
            self.failed(error)
        except TimeoutError:
            self.failed(BinderletError(f"The registry gave no answer within {PATIENCE:.0f} seconds."))
        else:
            self.succeeded(words)

    def succeeded(self, words: str = "") -> None:
        """Note that it has answered."""
        if self.down_since is not None:
            log.info("the registry answers again", seconds=round(self._clock() - self.down_since, 1))
        self.words, self.error, self.down_since = words or self.words, None, None
        self._up.set()

    def failed(self, error: BinderletError) -> None:
        """Note that it has not answered, or refused."""
        if self.down_since is None:
            log.warning("the registry does not answer", error=str(error))
            self.down_since = self._clock()
            self.outages += 1
        self.error = error
        self._up.clear()

    async def answers_within(self, seconds: float) -> bool:
        """Wait until it answers; whether it did in time."""
        if seconds > 0 and not self._up.is_set():
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await self._up.wait()
        return self._up.is_set()
