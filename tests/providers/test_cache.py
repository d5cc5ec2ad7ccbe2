"""The look-up cache, with a clock of its own."""

from __future__ import annotations

import asyncio

import pytest

from binderlet.errors import NotFound, ProviderUnavailable, RefNotFound
from binderlet.providers.cache import LookupCache


class Source:
    """Counts look-ups; answers after a moment."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.now = 0.0
        self.error: Exception | None = None
        self.go = asyncio.Event()
        self.go.set()

    async def look_up(self, key: str) -> str:
        """Answer, or fail as told."""
        self.asked.append(key)
        await self.go.wait()
        if self.error is not None:
            raise self.error
        return f"{key}{len(self.asked)}"

    def clock(self) -> float:
        """Tell the time."""
        return self.now


@pytest.fixture
async def source() -> Source:
    """A source on the running loop."""
    return Source()


async def test_answers_stay_good_for_a_while(source: Source) -> None:
    """An answer is used again until its time is up."""
    cache: LookupCache[str] = LookupCache("test", 10, clock=source.clock)
    assert [await cache.get("a", source.look_up) for _ in range(3)] == ["a1"] * 3
    source.now = 10
    assert await cache.get("a", source.look_up) == "a2"
    await cache.close()


async def test_many_ask_once(source: Source) -> None:
    """Those who ask at the same time share one look-up, also when the first of them leaves."""
    cache: LookupCache[str] = LookupCache("test", 0, clock=source.clock)
    source.go.clear()
    asking = [asyncio.create_task(cache.get("a", source.look_up)) for _ in range(5)]  # noqa: TID251 - tests own these
    await asyncio.sleep(0)
    asking[0].cancel()
    await asyncio.sleep(0)
    source.go.set()
    assert await asyncio.gather(*asking[1:]) == ["a1"] * 4
    assert asking[0].cancelled()
    assert await cache.get("a", source.look_up) == "a2"
    await cache.close()


@pytest.mark.parametrize(("error", "asked"), [(RefNotFound("no"), 1), (ProviderUnavailable("away"), 3)])
async def test_failures(source: Source, error: Exception, asked: int) -> None:
    """What is not found is believed for two seconds, other failures never; each raise is an error of its own."""
    cache: LookupCache[str] = LookupCache("test", 10, clock=source.clock)
    source.error = error
    caught = set()
    for _ in range(3):
        with pytest.raises(type(error), match=str(error)) as info:
            await cache.get("a", source.look_up)
        caught.add(id(info.value))
        assert info.value is not error
    assert len(source.asked) == asked
    source.now, source.error = 2.0, None
    assert await cache.get("a", source.look_up)
    await cache.close()


async def test_hints_survive(source: Source) -> None:
    """The copy of an error that is raised keeps its hint."""
    cache: LookupCache[str] = LookupCache("test", 10, clock=source.clock)
    source.error = NotFound("no", hint="look elsewhere")
    with pytest.raises(NotFound) as info:
        await cache.get("a", source.look_up)
    assert info.value.hint == "look elsewhere"
    await cache.close()


async def test_bounded(source: Source) -> None:
    """The oldest answers give way."""
    cache: LookupCache[str] = LookupCache("test", 10, size=2, clock=source.clock)
    for key in "abca":
        await cache.get(key, source.look_up)
    assert source.asked == ["a", "b", "c", "a"]
    await cache.close()


async def test_close_ends_look_ups(source: Source) -> None:
    """Closing ends what is being looked up, and those who wait are told."""
    cache: LookupCache[str] = LookupCache("test", 10, clock=source.clock)
    source.go.clear()
    asking = asyncio.create_task(cache.get("a", source.look_up))  # noqa: TID251 - the test owns it
    await asyncio.sleep(0.01)
    await cache.close()
    with pytest.raises(asyncio.CancelledError):
        await asking


async def test_cached_answers_are_cheap(source: Source) -> None:
    """An answer from memory is given at once: without a task, and without a turn of the event loop."""
    cache: LookupCache[str] = LookupCache("test", 1000)
    known = await cache.get("a", source.look_up)
    with pytest.raises(StopIteration) as done:
        cache.get("a", source.look_up).send(None)
    assert (done.value.value, source.asked) == (known, ["a"])
    await cache.close()
