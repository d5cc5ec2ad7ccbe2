"""Whether the registry answers."""

from __future__ import annotations

import asyncio

import pytest

from binderlet.errors import ImagesUnavailable
from binderlet.images.registry import pulse as module
from binderlet.images.registry.pulse import WHILE_DOWN, WHILE_UP, Pulse

DOWN = ImagesUnavailable("It does not answer.")


class Registry:
    """What is asked."""

    def __init__(self) -> None:
        self.is_down = False
        self.revived = 0
        self.slept: list[float] = []
        self.now = 0.0
        self.hang = False

    async def ask(self) -> str:
        """Answer."""
        if self.hang:
            await asyncio.Event().wait()
        if self.is_down:
            raise DOWN
        return "well"

    async def revive(self) -> None:
        """Count."""
        self.revived += 1

    async def sleep(self, seconds: float) -> None:
        """Note it; after three there is no more."""
        self.slept.append(seconds)
        self.is_down = len(self.slept) == 1
        if len(self.slept) == 3:
            raise asyncio.CancelledError

    def pulse(self) -> Pulse:
        """Give one that asks it."""
        return Pulse(self.ask, revive=self.revive, clock=lambda: self.now, sleep=self.sleep)


async def test_asked_again_and_again() -> None:
    """It is asked often while it is down, rarely while it is up, and revived first."""
    registry = Registry()
    pulse = registry.pulse()
    with pytest.raises(asyncio.CancelledError):
        await pulse.run()
    assert registry.slept == [WHILE_UP, WHILE_DOWN, WHILE_UP]
    assert registry.revived == 3
    assert (pulse.words, pulse.outages) == ("well", 1)


async def test_outage() -> None:
    """The outage's beginning and reason are known until it answers."""
    registry = Registry()
    pulse = registry.pulse()
    registry.now = 7.0
    pulse.failed(DOWN)
    registry.now = 9.0
    pulse.failed(DOWN)
    assert (pulse.down_since, pulse.error, pulse.outages) == (7.0, DOWN, 1)
    assert not await pulse.answers_within(0)
    pulse.succeeded()
    assert (pulse.down_since, pulse.error) == (None, None)
    assert await pulse.answers_within(0)


async def test_who_waits_is_woken() -> None:
    """Whoever waits goes on as soon as it answers."""
    pulse = Registry().pulse()
    pulse.failed(DOWN)
    waiting = asyncio.gather(*(pulse.answers_within(30) for _ in range(3)))
    await asyncio.sleep(0)
    pulse.succeeded("well")
    assert await waiting == [True] * 3


async def test_silence_is_an_outage(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that says nothing at all is down, too; without a way to revive it, it is only asked."""
    monkeypatch.setattr(module, "PATIENCE", 0.01)
    registry = Registry()
    registry.hang = True
    pulse = Pulse(registry.ask)
    await pulse.look()
    assert "no answer" in str(pulse.error)
