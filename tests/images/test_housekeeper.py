"""The housekeeper: when it looks, what it removes, whom it lets go first, and a real disk that fills up."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from binderlet.config.disk import DiskSettings
from binderlet.errors import EngineUnavailable, StoreUnavailable
from binderlet.events.usage import ImageUse
from binderlet.images.files import StateFiles
from binderlet.images.housekeeper import CACHE_EVERY, FIRST_LOOK, Housekeeper
from binderlet.images.pins import Pins
from binderlet.images.retention import Item, Kind, Part
from binderlet.tasks import Tasks
from support.eventually import eventually
from support.world import DAY, FakeDisk, FakeStore

MB, GB = 1024**2, 1024**3
SETTINGS = DiskSettings(budget=20 * GB, start_at=0.9, stop_at=0.5, keep_popular=0)


@pytest.fixture
def disk() -> FakeDisk:
    """A disk with much room: what limits is the budget."""
    return FakeDisk(100 * GB)


@pytest.fixture
def store(disk: FakeDisk, tmp_path: Path) -> FakeStore:
    """Ten images of 1.9 GB; the higher the number, the more popular."""
    made = FakeStore(disk, tmp_path)
    for number in range(10):
        made.add(f"i{number}", int(1.9 * GB), disk.now - DAY)
    disk.known = {f"i{number}": ImageUse("", [(disk.now, number)], disk.now - DAY) for number in range(10)}
    return made


def keeper_of(folder: Path, disk: FakeDisk, store: FakeStore | None, settings: DiskSettings = SETTINGS) -> Housekeeper:
    """Make a housekeeper."""
    files = StateFiles(folder, clock=lambda: disk.now)
    return Housekeeper(settings, files, store, disk.world(), Pins(folder / "pins.json", settings.pins), spare=GB)


@pytest.fixture
async def keeper(tmp_path: Path, disk: FakeDisk, store: FakeStore) -> AsyncIterator[Housekeeper]:
    """A housekeeper with a budget of 20 GB."""
    made = keeper_of(tmp_path, disk, store)
    yield made
    await made.close()


async def test_removes_the_least_valuable_down_to_the_lower_mark(
    keeper: Housekeeper, store: FakeStore, disk: FakeDisk
) -> None:
    """Above the upper mark, images go, the least popular first, until the lower mark; then nothing more."""
    disk.now += FIRST_LOOK
    steps = await keeper.look()
    assert store.removed == ["i0", "i1", "i2", "i3", "i4"]
    assert [step.items[0].name for step in steps] == store.removed
    assert keeper.survey is not None
    assert keeper.survey.used <= 10 * GB
    assert store.let_go_count == 1
    assert keeper.freed["image"] == 5 * int(1.9 * GB)
    assert keeper.room >= 10 * GB
    assert disk.slept == [1.0] * 5, "one step at a time"
    disk.now += 700
    assert await keeper.look() == []


async def test_first_look_waits_unless_the_disk_is_tight(keeper: Housekeeper, store: FakeStore, disk: FakeDisk) -> None:
    """At the start others have more to do, so all is measured a minute later; a tight disk is looked at at once."""
    assert await keeper.look() == []
    assert store.looks == []
    disk.free = GB
    await keeper.look()
    assert store.looks[0] is True
    assert store.removed


async def test_little_is_asked_while_there_is_room(tmp_path: Path, disk: FakeDisk) -> None:
    """With room, a look only reads the free bytes; all is measured now and then, the build cache rarely."""
    store = FakeStore(disk, tmp_path)
    store.add("a", GB, disk.now - DAY)
    keeper = keeper_of(tmp_path, disk, store, DiskSettings(survey_every=600))
    for seconds, looks in (
        (FIRST_LOOK, [False]),
        (599, [False]),
        (1, [False] * 2),
        (CACHE_EVERY, [False, False, True]),
    ):
        disk.now += seconds
        assert await keeper.look() == []
        assert store.looks == looks
    await keeper.close()


async def test_without_anything_to_remove_it_does_not_look_all_the_time(
    tmp_path: Path, disk: FakeDisk, store: FakeStore
) -> None:
    """When the disk is tight and all must stay, everything is measured only as often as when it is not."""
    disk.need(**{f"i{number}": "it is reserved" for number in range(10)})
    keeper = keeper_of(tmp_path, disk, store)
    disk.now += FIRST_LOOK
    for _ in range(3):
        assert await keeper.look() == []
        disk.now += 60
    assert len(store.looks) == 1
    assert store.removed == []
    await keeper.close()


async def test_switched_off_it_only_measures(tmp_path: Path, disk: FakeDisk, store: FakeStore) -> None:
    """With disk.enabled off nothing goes by itself; the operator can still ask for it."""
    keeper = keeper_of(tmp_path, disk, store, replace_settings(enabled=False))
    disk.now += FIRST_LOOK
    assert await keeper.look() == []
    assert keeper.survey is not None
    assert len(await keeper.prune()) == 5
    await keeper.close()


def replace_settings(**changes: object) -> DiskSettings:
    """Change some of the settings."""
    return DiskSettings.model_validate(SETTINGS.model_dump() | changes)


async def test_pins_hold(keeper: Housekeeper, store: FakeStore, disk: FakeDisk, tmp_path: Path) -> None:
    """What is pinned stays, over a restart too, until it is unpinned."""
    await keeper.pin("i0")
    again = keeper_of(tmp_path, disk, store)
    await again.load()
    await again.prune()
    assert "i0" in store.images
    assert "i1" not in store.images
    assert await again.unpin("i0")
    assert not await again.unpin("i0")
    steps = await again.prune(GB, dry_run=True)
    assert [item.name for step in steps for item in step.items] == ["i0"]
    assert "i0" in store.images
    await again.close()


async def test_what_is_needed_by_now_stays(keeper: Housekeeper, store: FakeStore, disk: FakeDisk) -> None:
    """Between measuring and removing a launch may begin: its image stays, and is left alone for an hour."""

    def begin() -> bool:
        disk.need(i0="a session starts")
        return False

    disk.busy = begin
    store.locked = {"i1"}
    disk.now += FIRST_LOOK
    await keeper.look()
    assert {"i0", "i1"} <= store.images.keys()
    assert "i2" not in store.images
    disk.need()
    store.locked = set()
    kept = {item.name: item.keep for item in (await keeper.measure()).items}
    assert "in use" in kept["i0"]
    assert "in use" in kept["i1"]
    disk.now += 3601
    await keeper.prune(GB)
    assert "i0" not in store.images


async def test_launches_go_first(keeper: Housekeeper, store: FakeStore, disk: FakeDisk) -> None:
    """A step waits while sessions are started, but not for ever, and not when builds would be refused."""
    disk.busy = lambda: True
    disk.now += FIRST_LOOK
    began = disk.now
    await keeper.look()
    assert disk.now - began == 5 * 31
    assert len(store.removed) == 5
    store.add("large", 14 * GB, disk.now - DAY)
    disk.slept.clear()
    await keeper.look()
    assert len(disk.slept) == len(store.removed) - 5


async def test_junk_goes_though_there_is_room(tmp_path: Path, disk: FakeDisk) -> None:
    """What sessions and builds left behind goes with the next measuring, without touching the build cache."""
    store = FakeStore(disk, tmp_path)
    store.leftovers = (
        Item("container:c", Kind.CONTAINER, "c", (Part("c", 5),), last_used=disk.now - DAY, is_junk=True),
    )
    checkout = tmp_path / "checkouts" / "old"
    checkout.mkdir(parents=True)
    os.utime(checkout, (disk.now - DAY, disk.now - DAY))
    keeper = keeper_of(tmp_path, disk, store)
    disk.now += FIRST_LOOK
    assert len(await keeper.look()) == 2
    assert store.removed == ["c"]
    assert store.let_go_count == 0
    assert not checkout.exists()
    await keeper.close()


async def test_room_for_those_who_refuse_builds(keeper: Housekeeper, store: FakeStore, disk: FakeDisk) -> None:
    """Room is what the tightest limit leaves; where it is too little, the housekeeper looks at once."""
    assert await asyncio.to_thread(keeper.free_now) == 20 * GB
    await keeper.measure()
    assert await asyncio.to_thread(keeper.free_now) < 2 * GB
    async with Tasks("test") as tasks:
        tasks.start(keeper.run(), name="run")
        await eventually(lambda: len(store.looks) >= 3, seconds=15)
        count = len(store.looks)
        disk.now += 700
        store.add("more", 18 * GB, disk.now - DAY)
        await asyncio.to_thread(keeper.free_now)
        await eventually(lambda: len(store.looks) > count, seconds=15)


async def test_a_look_that_fails_is_not_the_last(
    tmp_path: Path, disk: FakeDisk, store: FakeStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While the engine does not answer, or a folder cannot be read, the loop goes on."""
    keeper = keeper_of(tmp_path, disk, store, replace_settings(every=0.01))
    errors = iter([EngineUnavailable("away"), PermissionError("no"), StoreUnavailable("x")])
    looks: list[int] = []

    async def look() -> list[object]:
        looks.append(1)
        for error in errors:
            raise error
        return []

    monkeypatch.setattr(keeper, "look", look)
    async with Tasks("test") as tasks:
        tasks.start(keeper.run(), name="run")
        await eventually(lambda: len(looks) >= 5, seconds=15)
    await keeper.close()


async def test_before_the_first_look_it_knows_nothing(keeper: Housekeeper) -> None:
    """Nothing is planned and nothing is on the shelf before anything was measured."""
    assert keeper.plan() == []
    assert keeper.shelf().used() == 0
    assert keeper.budget == 20 * GB
    assert keeper.limits[0].used == 0


# A real disk.


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own with about 50 MB, or a skipped test where none can be mounted."""
    file, folder = tmp_path / "disk", tmp_path / "mounted"
    folder.mkdir()
    with file.open("wb") as made:
        made.truncate(64 * MB)
    programs = [["mkfs.ext4", "-q", "-F", "-m", "0", str(file)], ["mount", "-o", "loop", str(file), str(folder)]]
    for program in programs:
        if shutil.which(program[0]) is None or subprocess.run(program, check=False, capture_output=True).returncode:
            pytest.skip(f"{program[0]} cannot be used here")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def fill(path: Path, size: int, age: float) -> None:
    """Write a folder of a size; raises OSError where the disk is full."""
    path.mkdir(parents=True)
    (path / "pack").write_bytes(os.urandom(size))
    at = time.time() - age
    os.utime(path, (at, at))


@pytest.mark.timeout(60)
async def test_a_real_disk_keeps_its_budget(small_disk: Path) -> None:
    """Copies of repositories and logs come all the time onto a small disk: it never passes its budget, nor fills up."""
    budget = 40 * MB
    disk = FakeDisk(0)
    world = replace(disk.world(), clock=time.time, free=lambda path: shutil.disk_usage(path).free)
    settings = DiskSettings(budget=budget, start_at=0.8, stop_at=0.5, min_age=1, pause=0)
    files = StateFiles(small_disk, clock=time.time)
    keeper = Housekeeper(settings, files, None, world, Pins(small_disk / "pins.json"), spare=4 * MB)
    await keeper.measure()
    peak = 0
    for number in range(30):
        await asyncio.to_thread(fill, small_disk / "mirrors" / f"{number:032x}.git", 4 * MB, 3600.0 - number)
        await asyncio.to_thread(fill, small_disk / "builds" / f"{number:016x}", 100_000, 3600.0 - number)
        await asyncio.to_thread((small_disk / "builds" / f"{number:016x}" / "result.json").write_text, "{}")
        survey = await keeper.measure()
        peak = max(peak, survey.used)
        await keeper.look()
    assert 20 * MB < peak <= budget
    assert keeper.freed["mirror"] >= 80 * MB
    newest = await asyncio.to_thread((small_disk / "mirrors" / f"{29:032x}.git" / "pack").exists)
    assert newest
    await keeper.close()


@pytest.mark.timeout(60)
async def test_a_real_disk_that_others_filled(small_disk: Path) -> None:
    """When something else fills the disk to its last byte, what is ours makes room, and nothing breaks."""
    await asyncio.to_thread(fill, small_disk / "mirrors" / ("a" * 32 + ".git"), 20 * MB, 7200.0)
    await asyncio.to_thread(fill, small_disk / "mirrors" / ("b" * 32 + ".git"), 5 * MB, 0.0)

    def fill_up() -> None:
        with (small_disk / "foreign").open("wb") as file:
            try:
                while True:
                    file.write(b"x" * MB)
                    file.flush()
            except OSError:
                return

    await asyncio.to_thread(fill_up)
    free = (await asyncio.to_thread(shutil.disk_usage, small_disk)).free
    assert free < MB
    world = replace(FakeDisk(0).world(), clock=time.time, free=lambda path: shutil.disk_usage(path).free)
    files = StateFiles(small_disk, clock=time.time)
    keeper = Housekeeper(DiskSettings(pause=0), files, None, world, Pins(small_disk / "pins.json"), spare=4 * MB)
    (step,) = await keeper.look()
    assert step.frees >= 20 * MB
    assert await asyncio.to_thread(keeper.free_now) >= 20 * MB
    await keeper.close()
