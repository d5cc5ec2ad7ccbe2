"""Facts reach every listener; a launch's story reaches every viewer whole."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from structlog.testing import capture_logs

from binderlet.events.bus import Bus, Story
from binderlet.events.kinds import Fact, LaunchEvent
from binderlet.model import Phase
from support.facts import LAUNCH_STARTED

ONE = LaunchEvent(Phase.WAITING, "one\n")
TWO = LaunchEvent(Phase.LAUNCHING, "two\n")
THREE = LaunchEvent(Phase.READY, "three\n")


async def read(viewer: AsyncIterator[tuple[int, LaunchEvent]]) -> list[tuple[int, LaunchEvent]]:
    """Read a story to its end."""
    return [item async for item in viewer]


def test_every_listener_is_told() -> None:
    """A fact reaches all listeners in the order they were added."""
    bus, told = Bus(), list[tuple[str, Fact]]()
    bus.listen(lambda fact: told.append(("first", fact)))
    bus.listen(lambda fact: told.append(("second", fact)))
    bus.tell(LAUNCH_STARTED)
    assert told == [("first", LAUNCH_STARTED), ("second", LAUNCH_STARTED)]


def test_a_broken_listener_is_logged_and_the_others_are_told() -> None:
    """A listener that raises does no harm to the next one."""
    bus, told = Bus(), list[Fact]()

    def broken(_fact: Fact) -> None:
        raise ValueError("broken")

    bus.listen(broken)
    bus.listen(told.append)
    with capture_logs() as logs:
        bus.tell(LAUNCH_STARTED)
    assert told == [LAUNCH_STARTED]
    assert [(line["event"], line["fact"]) for line in logs] == [("listener failed", "LaunchStarted")]


async def test_viewers_get_the_same_story_from_wherever_they_start() -> None:
    """Early, late and returning viewers all read every event after the one they name."""
    story = Story()
    story.add(ONE)
    async with asyncio.TaskGroup() as viewers:
        early = viewers.create_task(read(story.follow()))
        returning = viewers.create_task(read(story.follow(after=1)))
        ahead = viewers.create_task(read(story.follow(after=99)))
        await asyncio.sleep(0)
        story.add(TWO)
        await asyncio.sleep(0)
        story.add(THREE)
        story.close()
    assert early.result() == [(1, ONE), (2, TWO), (3, THREE)]
    assert returning.result() == [(2, TWO), (3, THREE)]
    assert ahead.result() == []
    assert await read(story.follow()) == early.result()


async def test_nothing_is_added_to_a_story_that_has_ended() -> None:
    """Adding after close is a mistake of the caller; closing twice is none."""
    story = Story()
    story.close()
    story.close()
    with pytest.raises(RuntimeError, match="ended"):
        story.add(ONE)
    assert await read(story.follow()) == []


async def test_a_waiting_viewer_costs_nothing() -> None:
    """Viewers that wait do not run at all until there is something to read."""
    story = Story()
    turns = 0

    async def watch() -> None:
        nonlocal turns
        async for _ in story.follow():
            turns += 1

    async with asyncio.TaskGroup() as viewers:
        for _ in range(100):
            viewers.create_task(watch())
        await asyncio.sleep(0.02)
        assert turns == 0
        story.add(ONE)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert turns == 100
        story.close()


async def test_waiting_returns_for_news_and_for_the_end() -> None:
    """Whoever waits for an event after the last one is woken by it, or by the end."""
    story = Story()
    async with asyncio.TaskGroup() as group:
        group.create_task(story.wait(0))
        await asyncio.sleep(0)
        story.add(ONE)
    await story.wait(0)
    async with asyncio.TaskGroup() as group:
        group.create_task(story.wait(1))
        await asyncio.sleep(0)
        story.close()
    await story.wait(1)
