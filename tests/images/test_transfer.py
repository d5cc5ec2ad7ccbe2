"""Pushing what was built, behind the launches."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from binderlet.errors import BinderletError, ImagesUnavailable, StorageFull, StorageRefused
from binderlet.images.transfer import Names, Pusher, environment_name, unpushed, with_parents
from binderlet.images.transfer_record import Entry, Record
from binderlet.model import Image
from support.eventually import eventually
from support.registry_world import BASE, CONTENT, ENVIRONMENT, NAME, PREFIX, World

NAMES = Names(PREFIX)
ALL = [BASE, ENVIRONMENT, CONTENT]
IN_ORDER = [BASE.name, ENVIRONMENT.name, CONTENT.name]


class Sleeps:
    """Counts pauses, and lets them pass at once."""

    def __init__(self) -> None:
        self.pauses: list[float] = []

    async def __call__(self, seconds: float) -> None:
        """Pause."""
        self.pauses.append(seconds)
        await asyncio.sleep(0)


def pusher(world: World, sleep: Sleeps | None = None, *, enabled: bool = True) -> Pusher:
    """One that pushes what the world's machine has."""
    return Pusher(
        world.registry,
        world.pulse,
        world.record,
        here=world.images.all,
        names=NAMES,
        instance="one",
        enabled=enabled,
        sleep=sleep or Sleeps(),
    )


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    """A machine that has built one repository."""
    made = World(tmp_path)
    made.images.images |= {image.name: image for image in ALL}
    yield made
    await made.tasks.close()


def test_parents_first() -> None:
    """The base goes first, then the environment: what others share is there before what they do not."""
    assert with_parents(CONTENT, ALL, NAMES) == IN_ORDER
    assert with_parents(CONTENT, [CONTENT], NAMES) == [NAME]
    assert with_parents(replace(CONTENT, labels={}), ALL, NAMES) == [NAME]
    assert environment_name({}, NAMES) == ""


def test_unpushed(tmp_path: Path) -> None:
    """What is ours and not in the registry is pushed; a base that was renewed is pushed again, nothing else is."""
    record = Record(tmp_path / "record")
    foreign = Image("somebody/else:1", "sha256:f", labels={"binderlet.image": "content"})
    assert unpushed([foreign, *ALL], record, NAMES) == IN_ORDER
    record.put(Entry(BASE.name, "sha256:old base"))
    record.put(Entry(ENVIRONMENT.name, "sha256:another machine's"))
    assert unpushed(ALL, record, NAMES) == [BASE.name, CONTENT.name]


async def test_built(world: World) -> None:
    """A built image is pushed with its parents, its build's time is kept, and other machines can read it all."""
    made = pusher(world)
    await made.built("binderlet/i-gone:1", 5)
    await made.built(NAME, 42.0)
    assert list(made.waiting) == IN_ORDER
    running = world.tasks.start(made.run(), name="push")
    await eventually(lambda: world.registry.pushed == IN_ORDER and "one" in world.registry.documents)
    await eventually(lambda: not made.current)
    running.cancel()
    assert world.record.get(NAME).build_seconds == 42
    assert world.record.get(NAME).environment == ENVIRONMENT.name
    assert (made.counts.pushed, made.current, made.problem) == (3, "", "")
    other = Record(Path("/nowhere"))
    other.merge(world.registry.documents["one"])
    assert other.is_stored(NAME)
    await made.built(NAME, 42.0)
    assert made.waiting == ()


async def test_built_anew(world: World) -> None:
    """An image that is built again, on a newer base, takes the place of the one that was pushed."""
    made = pusher(world)
    await made.push(NAME)
    world.images.images[NAME] = replace(CONTENT, id="sha256:newer")
    await made.built(NAME, 3.0)
    assert NAME in made.waiting
    await made.push(NAME)
    assert world.registry.stored[NAME].image_id == "sha256:newer"


async def test_reconciled(world: World) -> None:
    """A process that starts anew finds what is still to be pushed, and asks before it pushes."""
    world.registry.store(BASE)
    made = pusher(world)
    await made.reconcile()
    for name in made.waiting:
        await made.push(name)
    assert world.registry.pushed == IN_ORDER[1:]
    assert made.counts.found == 1
    again = pusher(world)
    await again.reconcile()
    assert again.waiting == ()


async def test_a_killed_process_loses_nothing(world: World) -> None:
    """Without any record all is found in the registry, and nothing is pushed twice."""
    for image in ALL:
        world.registry.store(image)
    made = pusher(world)
    await made.reconcile()
    for name in made.waiting:
        await made.push(name)
    assert world.registry.pushed == []
    assert all(world.record.is_stored(name) for name in IN_ORDER)


async def test_renewed_bases(world: World) -> None:
    """A base that was made anew takes the old one's place; one of another machine stays."""
    made = pusher(world)
    await made.push(BASE.name)
    world.images.images[BASE.name] = replace(BASE, id="sha256:new base")
    await made.push(BASE.name)
    assert world.registry.stored[BASE.name].image_id == "sha256:new base"
    world.registry.store(replace(BASE, id="sha256:another machine's"))
    await made.push(BASE.name)
    assert world.registry.stored[BASE.name].image_id == "sha256:another machine's"


@pytest.mark.parametrize(
    ("error", "pause"),
    [(ImagesUnavailable("Down."), 5.0), (StorageRefused("Expired."), 5.0), (StorageFull("Full."), 60.0)],
)
async def test_failures_are_tried_again(world: World, error: BinderletError, pause: float) -> None:
    """A push that fails is tried again after longer and longer pauses, until it works; meanwhile it is said why."""
    sleeps = Sleeps()
    made = pusher(world, sleeps)
    world.registry.error = error
    made.want([NAME])
    running = world.tasks.start(made._push_all(), name="push")
    await eventually(lambda: made.counts.failed >= 3)
    assert error.message in made.problem
    assert sleeps.pauses[0] == pause
    assert sleeps.pauses[1] == 2 * pause
    assert made.counts.errors[error.code] >= 3
    world.registry.error = None
    await eventually(lambda: world.registry.pushed == [NAME])
    await eventually(lambda: made.problem == "")
    running.cancel()


async def test_one_failure_does_not_hold_up_the_others(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """An image that cannot be pushed goes to the end of the queue."""
    made = pusher(world)
    plain = world.registry.push

    async def push(name: str) -> object:
        if name == BASE.name:
            raise StorageFull("Full.")
        return await plain(name)

    monkeypatch.setattr(world.registry, "push", push)
    made.want(IN_ORDER)
    running = world.tasks.start(made._push_all(), name="push")
    await eventually(lambda: world.registry.pushed == IN_ORDER[1:])
    assert BASE.name in made.waiting or made.current == BASE.name
    running.cancel()


async def test_removed_meanwhile(world: World) -> None:
    """What is not here any more is not pushed, and that is no failure."""
    made = pusher(world)
    made.want(["binderlet/i-gone:1", NAME])
    running = world.tasks.start(made._push_all(), name="push")
    await eventually(lambda: world.registry.pushed == [NAME])
    assert made.counts.failed == 0
    running.cancel()


async def test_waits_for_the_registry(world: World) -> None:
    """While the registry does not answer nothing is tried."""
    made = pusher(world)
    world.pulse.failed(ImagesUnavailable("Down."))
    made.want([NAME, NAME])
    assert list(made.waiting) == [NAME]
    running = world.tasks.start(made._push_all(), name="push")
    await asyncio.sleep(0.01)
    assert world.registry.asked == []
    world.pulse.succeeded()
    await eventually(lambda: world.registry.pushed == [NAME])
    running.cancel()


async def test_a_long_outage(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """An outage that outlasts the longest pause is waited for again."""
    monkeypatch.setattr("binderlet.images.transfer.LONGEST_PAUSE", 0.001)
    made = pusher(world)
    world.pulse.failed(ImagesUnavailable("Down."))
    made.want([NAME])
    running = world.tasks.start(made._push_all(), name="push")
    await asyncio.sleep(0.02)
    world.pulse.succeeded()
    await eventually(lambda: world.registry.pushed == [NAME])
    running.cancel()


async def test_idle(world: World) -> None:
    """With nothing to push it waits, and goes on with what comes."""
    made = pusher(world)
    made.want([NAME])
    running = world.tasks.start(made._push_all(), name="push")
    await eventually(lambda: world.registry.pushed == [NAME] and not made._queued.is_set())
    made.want([BASE.name])
    await eventually(lambda: world.registry.pushed == [NAME, BASE.name])
    running.cancel()


async def test_switched_off(world: World) -> None:
    """Where pushing is switched off nothing is queued."""
    made = pusher(world, enabled=False)
    await made.reconcile()
    assert made.waiting == ()


async def test_learns_from_other_machines(world: World) -> None:
    """What others pushed is learned once the registry answers; until then nothing counts as new."""
    world.images.images.clear()
    world.record.is_complete = False
    other = Record(Path("/nowhere"))
    other.put(Entry("binderlet/i-theirs:1", "sha256:t"))
    world.registry.documents["two"] = other.document()
    world.registry.is_down = True
    sleeps = Sleeps()
    made = pusher(world, sleeps)
    running = world.tasks.start(made._keep_up(), name="keep up")
    await eventually(lambda: len(sleeps.pauses) > 1)
    assert not world.record.is_complete
    world.registry.is_down = False
    await eventually(lambda: world.record.is_complete)
    assert world.record.is_stored("binderlet/i-theirs:1")
    running.cancel()
