"""Images from the registry or a peer's, instead of a build."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from binderlet.errors import BinderletError, EngineUnavailable, ImageRejected, ImagesUnavailable, StorageRefused
from binderlet.images import pull as module
from binderlet.images.names import image_name
from binderlet.images.pull import Pull
from binderlet.images.pull_choice import Rate
from binderlet.images.registry.base import Progress
from binderlet.images.transfer_record import Entry
from binderlet.model import Image
from support.eventually import eventually
from support.registry_world import CONTENT, NAME, World
from support.values import COMMIT

PEER_NAME = image_name("peer.example.org/b/r2d-", COMMIT.slug, COMMIT.sha)


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    """A machine without the image, and a registry that has it."""
    made = World(tmp_path)
    made.registry.store(CONTENT)
    made.record.put(Entry(NAME, CONTENT.id, build_seconds=60))
    yield made
    await made.tasks.close()


async def outcome(world: World) -> tuple[Image | None, Pull]:
    """Ask for the image."""
    pull = world.pulls.join(COMMIT, NAME)
    return await pull.result(), pull


def text(pull: Pull) -> str:
    """What everyone who waits has read."""
    return "".join(event.message for event in pull.story.events)


async def test_pulled(world: World) -> None:
    """What the registry has is pulled, told, and remembered."""
    image, pull = await outcome(world)
    assert image is not None
    assert (image.name, image.id) == (NAME, CONTENT.id)
    assert "Pulling the image from registry.example.org" in text(pull)
    assert world.pulls.counts.pulled == 1
    assert world.record.is_stored(NAME)
    assert world.pulls.running == 0


async def test_coalesced(world: World) -> None:
    """However many wait, it is pulled once, and all read the same story."""
    world.registry.gate.clear()
    pulls = [world.pulls.join(COMMIT, NAME) for _ in range(10)]
    assert len(set(map(id, pulls))) == 1
    assert world.pulls.running == 1
    world.registry.gate.set()
    assert {(await pull.result() or CONTENT).id for pull in pulls} == {CONTENT.id}
    assert world.registry.pulled == [NAME]


async def test_what_nobody_has_is_built(world: World) -> None:
    """Where the registry does not have the image, it is to be built, and the record is mended."""
    world.registry.stored.clear()
    image, pull = await outcome(world)
    assert image is None
    assert not pull.is_limited
    assert not world.record.is_stored(NAME)


async def test_quicker_builds_are_built(world: World) -> None:
    """An image whose build is quicker than its pull is built."""
    world.registry.store(CONTENT, size=10**12)
    image, pull = await outcome(world)
    assert image is None
    assert "quicker" in text(pull)
    assert world.pulls.counts.built_instead == 1


async def test_layers_that_are_here_cost_nothing(world: World) -> None:
    """Of a huge image whose environment is here only the rest counts."""
    remote = world.registry.store(CONTENT, size=10**12)
    world.layers = frozenset(layer.diff_id for layer in remote.layers)
    assert (await outcome(world))[0] is not None


@pytest.mark.parametrize("change", [{"repo2docker.ref": "f" * 40}, {"repo2docker.repo": "https://evil.test/"}])
async def test_other_labels_are_rejected(world: World, change: dict[str, str]) -> None:
    """An image of another commit or repository is not taken, whatever its name."""
    world.registry.store(replace(CONTENT, labels={**CONTENT.labels, **change}))
    image, pull = await outcome(world)
    assert image is None
    assert not world.images.images
    assert world.pulls.counts.rejected == 1
    assert "cannot be used" in text(pull)


async def test_a_wrong_digest_is_rejected(world: World) -> None:
    """Bytes that are not those of their digest lead to a build."""
    world.registry.error = ImageRejected("Other bytes.")
    assert (await outcome(world))[0] is None
    assert world.pulls.counts.rejected == 1


async def test_an_outage_is_waited_for(tmp_path: Path) -> None:
    """While the registry does not answer a launch waits, and goes on when it does: nothing is built."""
    world = World(tmp_path, patience=60)
    world.registry.store(CONTENT)
    world.record.put(Entry(NAME, CONTENT.id))
    world.registry.is_down = True
    pull = world.pulls.join(COMMIT, NAME)
    await eventually(lambda: "waiting for it" in text(pull))
    world.registry.is_down = False
    world.pulse.succeeded()
    assert await pull.result() is not None
    assert world.pulls.counts.rebuilt == 0
    await world.tasks.close()


async def test_a_pull_that_breaks_is_begun_again(tmp_path: Path) -> None:
    """A registry that goes away in the middle of a pull is waited for, and the pull begun again."""
    world = World(tmp_path, patience=60)
    world.registry.store(CONTENT)
    world.registry.gate.clear()
    world.record.put(Entry(NAME, CONTENT.id))
    pull = world.pulls.join(COMMIT, NAME)
    await eventually(lambda: "Pulling" in text(pull))
    world.registry.is_down = True
    world.registry.gate.set()
    await eventually(lambda: "waiting for it" in text(pull))
    world.registry.is_down = False
    world.pulse.succeeded()
    assert await pull.result() is not None
    await world.tasks.close()


@pytest.mark.parametrize("error", [ImagesUnavailable("Down."), StorageRefused("Expired.")])
async def test_an_outage_is_no_storm(world: World, error: BinderletError, monkeypatch: pytest.MonkeyPatch) -> None:
    """After the patience such images are built, one at a time; the others wait for a turn or for the registry."""
    monkeypatch.setattr(module, "LOOK_EVERY", 0.01)
    names = [f"binderlet/i-{number}:1" for number in range(3)]
    for name in names:
        world.record.put(Entry(name, "sha256:x"))

    async def fail(_: str) -> None:
        raise error

    monkeypatch.setattr(world.registry, "find", fail)
    pulls = [world.pulls.join(COMMIT, name) for name in names]
    assert await pulls[0].result() is None
    assert pulls[0].is_limited
    await eventually(lambda: "for a turn" in text(pulls[1]) and "for a turn" in text(pulls[2]))
    assert world.pulls.running == 2
    world.pulls.release(names[0])
    done, _ = await asyncio.wait(
        [asyncio.ensure_future(pull.result()) for pull in pulls[1:]],  # noqa: TID251 - awaited right here
        return_when=asyncio.FIRST_COMPLETED,
    )
    assert len(done) == 1
    assert world.pulls.counts.rebuilt == 2
    assert world.pulls.running == 1
    # The registry answers again before the last one has its turn: it is not built.
    monkeypatch.undo()
    for name in names:
        world.registry.store(replace(CONTENT, name=name))
    world.pulse.succeeded()
    await eventually(lambda: world.pulls.running == 0)
    assert world.pulls.counts.rebuilt == 2
    assert world.pulls.counts.pulled == 1


async def test_no_builds_while_down(tmp_path: Path) -> None:
    """Where the operator allows no builds meanwhile, the launch fails and says why."""
    world = World(tmp_path, builds_when_down=0)
    world.record.is_complete = False
    world.registry.is_down = True
    with pytest.raises(ImagesUnavailable, match="may be in the registry") as caught:
        await world.pulls.join(COMMIT, NAME).result()
    assert "on this machine still launch" in caught.value.hint
    await world.tasks.close()


async def test_new_images_do_not_wait(tmp_path: Path) -> None:
    """An image that the registry is known not to have is built at once, without counting as rebuilt."""
    world = World(tmp_path, patience=60)
    world.registry.is_down = True
    pull = world.pulls.join(COMMIT, NAME)
    assert await pull.result() is None
    assert (pull.is_limited, world.pulls.counts.rebuilt) == (False, 0)
    await world.tasks.close()


async def test_slow_pulls_are_given_up(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A pull that turns out much slower than a build is given up for it, and the next one knows."""
    monkeypatch.setattr(module, "TELL_EVERY", 0.0)
    monkeypatch.setattr(module, "is_still_worth", lambda *_: False)
    world.registry.store(CONTENT, size=10**8)
    world.registry.gate.clear()
    before = world.pulls.rate.bytes_per_second
    image, pull = await outcome(world)
    assert image is None
    assert "slow" in text(pull)
    assert world.pulls.rate.bytes_per_second != before
    assert not world.images.images


async def test_progress_is_told(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """How far a pull is, is told now and then."""
    monkeypatch.setattr(module, "TELL_EVERY", 0.0)
    _, pull = await outcome(world)
    assert "Pulling: 0 of 0 MB" in text(pull)


async def test_from_a_peer(world: World) -> None:
    """What the own registry does not have comes from a peer, under the own name."""
    world.registry.stored.clear()
    peer = world.peer()
    peer.store(replace(CONTENT, name=PEER_NAME))
    image, pull = await outcome(world)
    assert image is not None
    assert image.name == NAME
    assert "peer.example.org" in text(pull)
    assert world.pulls.counts.peers == 1
    assert not world.record.is_stored(NAME)


async def test_peers_alone(world: World) -> None:
    """Peers are asked without a registry of one's own, too."""
    world.peer().store(replace(CONTENT, name=PEER_NAME))
    pull = world.make_pulls(None).join(COMMIT, NAME)
    assert await pull.result() is not None


@pytest.mark.parametrize(
    ("error", "rests"), [(ImagesUnavailable("Down."), True), (StorageRefused("No."), False), (TimeoutError(), True)]
)
async def test_peers_that_do_not_help(
    world: World, error: Exception, monkeypatch: pytest.MonkeyPatch, *, rests: bool
) -> None:
    """A peer that does not answer keeps nobody waiting: the next is asked, and it is left alone for a while."""
    world.registry.stored.clear()
    broken, other = world.peer(), world.peer("other.example.org/r2d-")
    other.store(replace(CONTENT, name=image_name("other.example.org/r2d-", COMMIT.slug, COMMIT.sha)))
    asked = 0

    async def fail(_: str) -> None:
        nonlocal asked
        asked += 1
        raise error

    monkeypatch.setattr(broken, "find", fail)
    assert (await outcome(world))[0] is not None
    assert (await outcome(world))[0] is not None
    assert asked == (1 if rests else 2)


async def test_peers_that_do_not_have_it(world: World) -> None:
    """Where no peer has the image either, it is built."""
    world.registry.stored.clear()
    world.peer()
    world.peer("other.example.org/r2d-")
    assert (await outcome(world))[0] is None


async def test_a_pull_that_takes_its_time(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A pull that is worth it goes on, however often that is looked at."""
    monkeypatch.setattr(module, "TELL_EVERY", 0.0)
    world.registry.gate.clear()
    pull = world.pulls.join(COMMIT, NAME)
    await eventually(lambda: "Pulling" in text(pull))
    await asyncio.sleep(0.01)
    world.registry.gate.set()
    assert await pull.result() is not None


async def test_what_a_peer_sends_is_checked(world: World) -> None:
    """A peer's image of another commit is not taken."""
    world.registry.stored.clear()
    world.peer().store(replace(CONTENT, name=PEER_NAME, labels={}))
    assert (await outcome(world))[0] is None
    assert world.pulls.counts.rejected == 1


async def test_other_errors_end_the_launch(world: World) -> None:
    """An engine that does not answer is nobody's missing image."""
    world.registry.error = EngineUnavailable("The engine does not answer.")
    with pytest.raises(EngineUnavailable):
        await outcome(world)


async def test_bugs_lead_to_a_build(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A broken pull is logged, and the image built."""
    monkeypatch.setattr(world.pulls, "_own", lambda _: 1 / 0)
    assert (await outcome(world))[0] is None


async def test_stopping(world: World) -> None:
    """A pull that is cut off by the end of the service says so."""
    world.registry.gate.clear()
    pull = world.pulls.join(COMMIT, NAME)
    await eventually(lambda: "Pulling" in text(pull))
    await world.tasks.close()
    with pytest.raises(ImagesUnavailable, match="stopped"):
        await pull.result()


def test_rates_are_per_registry(world: World) -> None:
    """Each peer has a rate of its own."""
    world.peer()
    world.peer("other.example.org/r2d-")
    assert world.peers[0].rate is not world.peers[1].rate
    assert world.peers[0].rate == Rate()
    assert Progress(0, 0) == Progress(0, 0)
