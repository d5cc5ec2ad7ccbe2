"""How fast pushing may go."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from binderlet.images.registry.throttle import Throttle


class Clock:
    """A clock that only sleeping moves."""

    def __init__(self) -> None:
        self.now = 0.0
        self.busy = False
        self.busy_until = 0.0

    def __call__(self) -> float:
        """Tell the time."""
        return self.now

    async def sleep(self, seconds: float) -> None:
        """Move on."""
        self.now += seconds
        await asyncio.sleep(0)

    def is_busy(self) -> bool:
        """Whether somebody waits for the machine."""
        return self.busy or self.now < self.busy_until


async def chunks(count: int, size: int = 1000) -> AsyncIterator[bytes]:
    """Some bytes."""
    for _ in range(count):
        yield bytes(size)


async def drain(throttle: Throttle, count: int) -> int:
    """Send them all."""
    return sum([len(chunk) async for chunk in throttle.pace(chunks(count))])


def throttle(clock: Clock, rate: int, slow: int = 100) -> Throttle:
    """One on that clock."""
    return Throttle(rate, slow, clock.is_busy, clock=clock, sleep=clock.sleep)


async def test_rate() -> None:
    """Ten thousand bytes at a thousand a second take ten seconds, and are counted."""
    clock = Clock()
    made = throttle(clock, 1000)
    assert await drain(made, 10) == 10_000
    assert 9 <= clock.now <= 10
    assert made.sent == 10_000


async def test_no_limit() -> None:
    """Without a limit nothing waits."""
    clock = Clock()
    await drain(throttle(clock, 0), 10)
    assert clock.now == 0


async def test_yields() -> None:
    """While the machine is busy it goes slowly, and quicker again as soon as it is not."""
    clock = Clock()
    clock.busy_until = 20.0
    await drain(throttle(clock, 1000), 10)
    assert 27 <= clock.now <= 29  # 20 s for the first 2,000 bytes, 8 s for the rest
    clock.busy_until = clock.now + 20
    began = clock.now
    await drain(throttle(clock, 0), 10)
    assert 19 <= clock.now - began <= 21


async def test_one_at_a_time() -> None:
    """Streams go one after the other, so that the engine compresses one layer at a time."""
    clock = Clock()
    made = throttle(clock, 1000)
    order: list[str] = []

    async def run(name: str) -> None:
        order.extend([name async for _ in made.pace(chunks(3))])

    await asyncio.gather(run("a"), run("b"))
    assert order == ["a"] * 3 + ["b"] * 3
