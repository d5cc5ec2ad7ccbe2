"""Whose turn is on which builder pod."""

from __future__ import annotations

import asyncio

import pytest

from binderlet.builder.cluster.choice import BuilderPod, ranked
from binderlet.builder.cluster.pool import Pool
from binderlet.errors import EngineUnavailable
from support.eventually import eventually


class World:
    """Pods, and a clock that only goes forward when it is looked at."""

    def __init__(self, *names: str) -> None:
        self.pods = [BuilderPod(name, "", is_ready=True) for name in names]
        self.error: EngineUnavailable | None = None
        self.now = 0.0
        self.told: list[str] = []
        self.pool = Pool(self.list, 60, clock=self.clock, look_every=0.001)

    async def list(self) -> list[BuilderPod]:
        """Give the pods."""
        if self.error is not None:
            raise self.error
        return self.pods

    def clock(self) -> float:
        """Give the time."""
        self.now += 1
        return self.now


async def test_one_build_on_each() -> None:
    """Each pod has one build; the next waits until one is free, however long that takes."""
    world = World("a", "b")
    async with world.pool.turn("r", tell=world.told.append) as first:
        async with world.pool.turn("r", tell=world.told.append) as second:
            assert {first.name, second.name} == {"a", "b"}
            assert set(world.pool.busy) == {"a", "b"}
            third = world.pool.turn("r", tell=world.told.append)
            entering = asyncio.gather(third.__aenter__())
            await eventually(lambda: bool(world.told))
            assert not entering.done()
        assert (await entering)[0] == second
        await third.__aexit__(None, None, None)
    assert world.told == ["Waiting for a builder pod..."]
    assert not world.pool.busy


async def test_repositorys_own_pod_comes_first() -> None:
    """A repository gets the same pod each time, and another while that one says it is busy."""
    world = World("a", "b", "c")
    first, second, _ = ranked(world.pods, "r")
    async with world.pool.turn("r", tell=world.told.append) as pod:
        assert pod == first
    world.pool.rest(first)
    async with world.pool.turn("r", tell=world.told.append) as pod:
        assert pod == second
    async with world.pool.turn("r", avoid=[second.name], prefer=first.name, tell=world.told.append) as pod:
        assert pod != second
    assert await world.pool.find("c") == world.pods[2]
    assert await world.pool.find("d") is None


async def test_the_pod_of_a_build_that_goes_on() -> None:
    """It is waited for while something short keeps it busy, in silence, but not for ever; one that is gone is not."""
    world = World("a", "b")
    own, other = ranked(world.pods, "r")
    async with world.pool.turn("r", tell=world.told.append):
        async with world.pool.turn("r", prefer=own.name, patience=5, tell=world.told.append) as pod:
            assert pod == other
        patient = world.pool.turn("r", prefer=own.name, patience=10**9, tell=world.told.append)
        entering = asyncio.gather(patient.__aenter__())
        before = world.now
        await eventually(lambda: world.now > before + 20)
        assert not entering.done()
    assert (await entering)[0] == own
    await patient.__aexit__(None, None, None)
    async with world.pool.turn("r", prefer="gone", patience=10**9, tell=world.told.append) as pod:
        assert pod == own
    assert world.told == []


async def test_none_is_ready() -> None:
    """Without a pod that is ready a build is refused after a while, and says what to look at."""
    world = World()
    with pytest.raises(EngineUnavailable, match="No builder pod") as caught:
        async with world.pool.turn("r", tell=world.told.append):
            pass
    assert "kubectl" in caught.value.hint
    world.error = EngineUnavailable("The cluster does not answer.")
    with pytest.raises(EngineUnavailable, match="does not answer"):
        async with world.pool.turn("r", tell=world.told.append):
            pass
