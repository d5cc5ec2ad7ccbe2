"""Bringing the most valuable images back."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from binderlet.errors import ImageRejected, ImagesUnavailable
from binderlet.images.pull_restore import Restoration, choose, restore
from binderlet.images.transfer_record import Entry
from binderlet.model import Image
from support.eventually import eventually
from support.registry_world import CONTENT, ENVIRONMENT, NAME, PREFIX, World

MB = 2**20


def entry(name: str, size: int = 100, launches: float = 0, environment: str = "") -> Entry:
    """An image in the registry."""
    return Entry(f"{PREFIX}{name}", f"sha256:{name}", size=size * MB, launches=launches, environment=environment)


ENV = Entry("binderlet/env:e", "sha256:e", size=80 * MB)
ENTRIES = [
    ENV,
    entry("popular:1", launches=50, environment=ENV.name),
    entry("sibling:1", launches=40, environment=ENV.name),
    entry("huge:1", size=5000, launches=30),
    entry("rare:1"),
    Entry(f"{PREFIX}unpushed:1", launches=99),
]


def chosen(count: int = 10, room: int = 10_000, here: tuple[str, ...] = ()) -> list[str]:
    """The names that are brought back, without what all begin with."""
    found = choose(ENTRIES, here, prefix=PREFIX, now=0, count=count, room=room * MB)
    return [each.name.removeprefix(PREFIX) for each in found]


def test_most_valuable_first() -> None:
    """What is launched often and small comes first, after its environment, which comes once."""
    assert chosen() == [ENV.name, "popular:1", "sibling:1", "rare:1", "huge:1"]


def test_limits() -> None:
    """So many images at most, and no more than there is room for; shared layers count once."""
    assert chosen(count=1) == [ENV.name, "popular:1"]
    assert chosen(room=120) == [ENV.name, "popular:1", "sibling:1"]
    assert chosen(room=50) == []


def test_what_is_here_is_not_brought() -> None:
    """Images that are here count neither as images nor as bytes."""
    assert chosen(here=(ENV.name, f"{PREFIX}popular:1"), count=1) == ["sibling:1"]


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    """A machine that lost everything."""
    made = World(tmp_path)
    yield made
    await made.tasks.close()


async def test_brought_back(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each image is pulled; one that is gone or broken does not keep the others from coming."""
    world.registry.store(ENVIRONMENT)
    world.registry.store(CONTENT)
    broken = world.registry.store(Image("binderlet/i-broken:1", "sha256:b"))
    plain = world.registry.pull

    async def pull(remote: object, name: str, tell: object) -> object:
        if remote == broken:
            raise ImageRejected("Other bytes.")
        return await plain(remote, name, tell)  # type: ignore[arg-type]  # passed on as they came

    monkeypatch.setattr(world.registry, "pull", pull)
    wanted = [Entry(ENVIRONMENT.name), Entry("binderlet/i-gone:1", "x"), Entry(broken.name), Entry(NAME)]
    world.record.put(wanted[1])
    told: list[str] = []
    found = [each async for each in restore(world.registry, world.record, world.images, wanted, told.append)]
    assert [(each.name, bool(each.problem)) for each in found] == [
        (ENVIRONMENT.name, False),
        ("binderlet/i-gone:1", True),
        (broken.name, True),
        (NAME, False),
    ]
    assert len(told) == 4
    assert not world.record.is_stored("binderlet/i-gone:1")
    assert set(world.images.images) == {ENVIRONMENT.name, NAME}


async def test_in_the_background(world: World) -> None:
    """A restoration begins once, says how far it is, and may be begun again when it has ended."""
    world.registry.store(CONTENT)
    world.record.put(Entry(NAME, CONTENT.id, size=MB))
    world.registry.gate.clear()
    learned = 0

    async def learn() -> None:
        nonlocal learned
        learned += 1

    made = Restoration(world.registry, world.record, world.images, world.tasks, prefix=PREFIX, learn=learn)
    for _ in range(2):
        await made.begin(10, 10**9)
    await eventually(lambda: made.progress()["current"] == NAME)
    assert made.progress() == {"running": True, "current": NAME, "total": 1, "done": []}
    world.registry.gate.set()
    await eventually(lambda: not made.progress()["running"])
    assert made.progress()["done"] == [{"name": NAME, "size": 1000, "problem": ""}]
    await made.begin(10, 10**9)
    await eventually(lambda: not made.progress()["running"])
    assert made.progress()["total"] == 0
    assert learned == 2


async def test_no_registry_no_restoration(world: World) -> None:
    """A registry that does not answer is said to be that, and the next try is not held up."""

    async def learn() -> None:
        raise ImagesUnavailable("Down.")

    made = Restoration(world.registry, world.record, world.images, world.tasks, prefix=PREFIX, learn=learn)
    for _ in range(2):
        with pytest.raises(ImagesUnavailable):
            await made.begin(1, 1)
    assert not made.progress()["running"]
