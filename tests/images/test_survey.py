"""Measuring everything that is kept."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path

import psutil
import pytest

from binderlet.config.disk import DiskSettings
from binderlet.errors import StoreUnavailable
from binderlet.events.usage import ImageUse
from binderlet.images import survey as measuring
from binderlet.images.files import StateFiles
from binderlet.images.pins import Pins
from binderlet.images.retention import Item, Kind, Part, Volume
from binderlet.images.survey import ELSEWHERE, Survey, Surveyor, be_modest
from support.world import DAY, FakeDisk, FakeStore

GB = 1024**3


@pytest.fixture
def disk() -> FakeDisk:
    """A disk with some room."""
    return FakeDisk(100 * GB)


@pytest.fixture
def store(disk: FakeDisk, tmp_path: Path) -> FakeStore:
    """An engine's store on the same disk."""
    return FakeStore(disk, tmp_path)


@pytest.fixture
async def surveyor(tmp_path: Path, disk: FakeDisk, store: FakeStore) -> AsyncIterator[Surveyor]:
    """A surveyor of them."""
    files = StateFiles(tmp_path, clock=lambda: disk.now)
    made = Surveyor(DiskSettings(), files, store, disk.world(), Pins(tmp_path / "pins.json", ["pinned"]))
    yield made
    await made.close()


async def test_one_file_system(surveyor: Surveyor, store: FakeStore, disk: FakeDisk) -> None:
    """Where the engine and we share a disk, all of it is one volume; what becomes less meanwhile counts as ours."""
    store.add("a", 3 * GB, disk.now - DAY)
    store.add("pinned", GB, disk.now - DAY)
    disk.known = {"a": ImageUse("https://github.com/o/r", [(disk.now, 3)], disk.now, 60.0)}
    assert await surveyor.volumes() == (Volume("state", 0, 96 * GB),)
    found = await surveyor.measure()
    (volume,) = found.volumes
    assert (volume.name, volume.free) == ("state", 96 * GB)
    assert found.used == volume.ours
    assert volume.ours >= 4 * GB
    items = {item.name: item for item in found.items}
    assert items["a"].launches == 3
    assert items["pinned"].keep == "it is pinned: pinned"
    assert store.looks == [True]
    disk.free -= 2 * GB
    assert await asyncio.to_thread(surveyor.volumes_now) == (Volume("state", volume.ours + 2 * GB, 94 * GB),)


async def test_an_engine_elsewhere(surveyor: Surveyor, store: FakeStore, disk: FakeDisk, tmp_path: Path) -> None:
    """An engine with a disk of its own is a volume of its own; one that is not here has room without end."""
    store.add("a", GB, disk.now - DAY)
    store.root = Path("/proc")
    found = await surveyor.measure(thorough=False)
    assert {volume.name: volume.free for volume in found.volumes} == {"state": 99 * GB, "engine": 99 * GB}
    assert next(item for item in found.items if item.name == "a").volume == "engine"
    assert store.looks == [False]
    store.root = None
    found = await surveyor.measure()
    assert {volume.name: volume.free for volume in found.volumes} == {"state": 99 * GB, "engine": ELSEWHERE}


async def test_no_engine(tmp_path: Path, disk: FakeDisk) -> None:
    """Without an engine the files alone are measured."""
    made = Surveyor(DiskSettings(), StateFiles(tmp_path, clock=lambda: 0), None, disk.world(), Pins(tmp_path / "p"))
    assert [item.kind for item in (await made.measure()).items] == [Kind.STATE]
    await made.close()


async def test_a_history_that_cannot_be_read(surveyor: Surveyor, store: FakeStore, disk: FakeDisk) -> None:
    """What was known before still counts; where nothing ever was, no image may go."""
    store.add("a", GB, disk.now - DAY)
    disk.history_error = StoreUnavailable("broken")
    item = next(item for item in (await surveyor.measure()).items if item.name == "a")
    assert "history" in item.keep
    disk.history_error, disk.known = None, {"a": ImageUse("r", [(disk.now, 5)], disk.now)}
    await surveyor.measure()
    disk.history_error = StoreUnavailable("broken")
    item = next(item for item in (await surveyor.measure()).items if item.name == "a")
    assert "history" not in item.keep
    assert item.launches == 5


def test_sums_by_kind() -> None:
    """What kinds share counts for the one below: an environment's layers are not the image's, too."""
    base, env, own = Part("b", 100), Part("e", 50), Part("o", 7)
    items = (
        Item("i", Kind.IMAGE, "i", (base, env, own)),
        Item("e", Kind.ENVIRONMENT, "e", (base, env)),
        Item("b", Kind.BASE, "b", (base,)),
        Item("l", Kind.LOG, "l", (Part("l", 3),)),
    )
    sums = Survey(0, items, ()).by_kind()
    assert {kind: size for kind, size in sums.items() if size} == {"base": 100, "environment": 50, "image": 7, "log": 3}


async def test_work_is_of_low_priority(surveyor: Surveyor) -> None:
    """The thread that measures gives way to all others; the rest of the process is as before."""
    mine = os.getpriority(os.PRIO_PROCESS, 0)
    assert await surveyor.offload(lambda: os.getpriority(os.PRIO_PROCESS, 0)) == 19
    assert os.getpriority(os.PRIO_PROCESS, 0) == mine


async def test_where_priorities_cannot_be_set(monkeypatch: pytest.MonkeyPatch) -> None:
    """A system that does not allow it is no reason to fail."""

    def refuse(*_: object) -> None:
        raise PermissionError("no")

    monkeypatch.setattr(os, "setpriority", refuse)
    monkeypatch.setattr(psutil, "Process", refuse)
    await asyncio.to_thread(be_modest)


def test_the_world_knows_the_time_and_the_disk(tmp_path: Path) -> None:
    """What is not given is the real thing."""
    real = FakeDisk(1).world()
    world = measuring.World(real.needs, real.uses, real.bases)
    assert world.free(tmp_path) > 0
    assert not world.is_busy()
