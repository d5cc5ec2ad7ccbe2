"""Places."""

from __future__ import annotations

import asyncio
from contextlib import aclosing

from binderlet.launch.admission import Admission
from binderlet.launch.machine import Queued
from binderlet.launch.places import Places


async def positions(places: Places, launch_id: str) -> list[int]:
    """Wait for a place and give the positions on the way."""
    return [queued.position async for queued in places.take(launch_id, "r", "o")]


async def test_a_free_place_is_given_at_once() -> None:
    """Nobody waits while there are places."""
    places = Places(Admission(places=1))
    assert await positions(places, "a") == []
    assert (places.taken, places.limit, places.waiting) == (1, 1, 0)
    assert list(places.holders()) == ["a"]


async def test_waiting_launches_see_their_positions_fall() -> None:
    """Each launch in the queue is told each new position, and admitted in order."""
    places = Places(Admission(places=1))
    await positions(places, "a")
    async with asyncio.TaskGroup() as group:
        second, third = (group.create_task(positions(places, launch)) for launch in "bc")
        await asyncio.sleep(0)
        places.release("a")
        await asyncio.sleep(0.01)
        assert second.done()
        places.release("b")
    assert (second.result(), third.result()) == ([1], [2, 1])


async def test_leaving_gives_up_the_turn() -> None:
    """A launch that stops waiting is not admitted later."""
    places = Places(Admission(places=1))
    await positions(places, "a")
    async with aclosing(places.take("b", "r", "o")) as turns:
        assert await anext(turns) == Queued(1, 1, 1)
    assert places.waiting == 0
    places.release("a")
    assert places.taken == 0


async def test_found_sessions_hold_places() -> None:
    """Sessions found after a restart are counted."""
    places = Places(Admission(places=2))
    places.adopt({"a": "r", "b": "r"})
    assert places.taken == 2


async def test_who_waits_for_memory_is_woken_when_there_is_some() -> None:
    """A place alone is not enough."""
    places = Places(Admission(places=2))
    places.allow(0)
    taking = places.take("a", "r", "o")
    assert (await anext(taking)).position == 1
    places.allow(1)
    assert [queued async for queued in taking] == []
    assert places.holders() == ["a"]
