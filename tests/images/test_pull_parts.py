"""Bases and environments that another machine made."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from binderlet.errors import EngineUnavailable, ImagesUnavailable
from binderlet.images import pull_parts as module
from binderlet.images.pull_parts import Parts
from support.registry_world import ENVIRONMENT, World

LABEL = "binderlet.environment"


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    """A machine without the environment, and a registry that has it."""
    made = World(tmp_path)
    made.registry.store(ENVIRONMENT)
    yield made
    await made.tasks.close()


def parts(world: World) -> Parts:
    """What brings them."""
    return Parts(world.registry, world.pulse, world.record, world.images, world.pulls.rate)


async def test_brought_once(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Builds that start together bring an environment once, and it is told where it comes from."""
    monkeypatch.setattr(module, "TELL_EVERY", 0.0)
    told: list[str] = []
    bring = parts(world).bring
    found = await asyncio.gather(*(bring(ENVIRONMENT.name, LABEL, "e1", told.append) for _ in range(3)))
    assert found == [True] * 3
    assert world.registry.pulled == [ENVIRONMENT.name]
    assert world.record.is_stored(ENVIRONMENT.name)
    assert "from registry.example.org" in told[0]
    assert "MB..." in told[1]


async def test_not_there(world: World) -> None:
    """What the registry does not have is built."""
    assert not await parts(world).bring("binderlet/env:other", LABEL, "other", print)


async def test_another_key(world: World) -> None:
    """An environment of another key is not taken."""
    assert not await parts(world).bring(ENVIRONMENT.name, LABEL, "e2", print)
    assert world.registry.pulled == []


async def test_slower_than_building(world: World) -> None:
    """An environment that takes longer to bring than to build is built."""
    world.registry.store(ENVIRONMENT, size=10**12)
    assert not await parts(world).bring(ENVIRONMENT.name, LABEL, "e1", print)


async def test_an_outage_holds_up_no_build(world: World) -> None:
    """A build that has begun does not wait for the registry."""
    world.registry.is_down = True
    assert not await parts(world).bring(ENVIRONMENT.name, LABEL, "e1", print)
    world.pulse.failed(ImagesUnavailable("Down."))
    world.registry.asked.clear()
    assert not await parts(world).bring(ENVIRONMENT.name, LABEL, "e1", print)
    assert world.registry.asked == []


async def test_no_engine(world: World) -> None:
    """An engine that does not answer is said to be what it is."""
    world.registry.error = EngineUnavailable("Down.")
    with pytest.raises(EngineUnavailable):
        await parts(world).bring(ENVIRONMENT.name, LABEL, "e1", print)
