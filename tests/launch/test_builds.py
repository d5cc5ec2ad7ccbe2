"""Builds: one per image, in a fair queue, surviving their control plane."""

from __future__ import annotations

import asyncio
import json
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from binderlet.builder.fake import FakeBuilder
from binderlet.config import Settings
from binderlet.config.schema import BuilderSettings
from binderlet.errors import BadRepository, BinderletError, BuildFailed, DiskFull, EngineUnavailable
from binderlet.events.kinds import BuildEnded, BuildStarted
from binderlet.launch.builds import build_id
from binderlet.model import Commit
from support.eventually import eventually
from support.launches import Workshop
from support.values import COMMIT

MINE = replace(COMMIT, provider="fake", clone_url="owner/repo", repo_url="owner/repo", owner="owner")


def of(owner: str) -> Commit:
    """A commit of some owner."""
    return replace(MINE, owner=owner)


async def test_a_build_leaves_its_log_and_a_result(workshop: Workshop, tmp_path: Path) -> None:
    """After a build its log is at its id, and its checkout is gone."""
    build = workshop.builds.join(MINE, "image:1")
    assert (await build.result()).name == "image:1"
    path = workshop.builds.log_path(build_id("image:1"))
    assert path is not None
    assert "Building..." in path.read_text()
    assert json.loads((path.parent / "result.json").read_text())["ok"]
    assert list((tmp_path / "checkouts").iterdir()) == []
    assert [type(fact) for fact in workshop.facts] == [BuildStarted, BuildEnded]


@pytest.mark.parametrize("name", ["nope", "../../etc", ""])
async def test_unknown_logs_are_not_found(name: str, workshop: Workshop) -> None:
    """An id that is none of ours leads to no file."""
    assert workshop.builds.log_path(name) is None


async def test_builds_wait_for_their_turn(workshop: Workshop) -> None:
    """With two at a time, the third waits and is told its position; owners take turns."""
    workshop.builder.gate.clear()
    builds = [workshop.builds.join(of(owner), f"image:{n}") for n, owner in enumerate(["a", "a", "a", "a", "b"])]
    await asyncio.sleep(0.05)
    assert (workshop.builds.running, workshop.builds.waiting) == (2, 3)
    assert [build.state for build in builds] == ["running", "running", "waiting", "waiting", "waiting"]
    assert "number 2 in the queue" in builds[4].story.events[-1].message
    workshop.builder.gate.set()
    await asyncio.gather(*(build.result() for build in builds))
    order = [request.image for request in workshop.builder.requests]
    assert (set(order[2:4]), order[4]) == ({"image:2", "image:4"}, "image:3")


async def test_a_failure_is_remembered_for_a_while(workshop: Workshop) -> None:
    """A build that failed a moment ago is answered from memory; later it is tried again."""
    workshop.builder.error = BuildFailed("No.")
    first = workshop.builds.join(MINE, "image:1")
    with pytest.raises(BuildFailed, match="No"):
        await first.result()
    assert first.state == "failure"
    assert workshop.builds.join(MINE, "image:1") is first
    workshop.clock.now += workshop.settings.builder.failure_memory
    workshop.builder.error = None
    second = workshop.builds.join(MINE, "image:1")
    assert second is not first
    await second.result()
    assert second.state == "success"
    assert len(workshop.builder.requests) == 2


@pytest.mark.parametrize("error", [EngineUnavailable("Away."), DiskFull("Full.")])
async def test_what_is_not_the_repositorys_fault_is_not_remembered(workshop: Workshop, error: BinderletError) -> None:
    """After a failure of the machine the next launch builds at once."""
    workshop.builder.error = error
    with pytest.raises(type(error)):
        await workshop.builds.join(MINE, "image:1").result()
    workshop.builder.error = None
    assert (await workshop.builds.join(MINE, "image:1").result()).name == "image:1"


async def test_a_failure_is_tried_again_on_demand(workshop: Workshop) -> None:
    """Who asks for it does not get the answer from memory, but what runs is joined all the same."""
    workshop.builder.error = BuildFailed("No.")
    first = workshop.builds.join(MINE, "image:1", retry=True)
    assert workshop.builds.join(MINE, "image:1", retry=True) is first
    with pytest.raises(BuildFailed):
        await first.result()
    workshop.builder.error = None
    second = workshop.builds.join(MINE, "image:1", retry=True)
    await second.result()
    assert second is not first


async def test_a_build_that_nobody_waits_for_does_not_begin(workshop: Workshop) -> None:
    """A build in the queue is given up with its last launch, and a new launch of it starts afresh."""
    workshop.builder.gate.clear()
    running = [workshop.builds.join(MINE, f"image:{n}") for n in range(2)]
    build = workshop.builds.join(MINE, "image:2")
    build.launches |= {"a", "b"}
    running[0].launches.add("c")
    workshop.builds.leave(running[0], "c")
    workshop.builds.leave(build, "a")
    assert (workshop.builds.waiting, build.abandoned) == (1, False)
    workshop.builds.leave(build, "b")
    assert workshop.builds.waiting == 0
    again = workshop.builds.join(MINE, "image:2")
    assert again is not build
    with pytest.raises(BuildFailed, match="Everyone left"):
        await build.result()
    workshop.builder.gate.set()
    await asyncio.gather(*(each.result() for each in [*running, again]))
    assert len(workshop.builder.requests) == 3


async def test_a_full_disk_refuses_builds(workshop: Workshop) -> None:
    """With too little disk nothing is built, and the refusal says how much is free."""
    workshop.free_disk = 1024**3
    with pytest.raises(DiskFull, match=r"1\.0 GB of disk are free"):
        await workshop.builds.join(MINE, "image:1").result()
    assert workshop.builder.requests == []


async def test_an_unfinished_build_is_taken_up_after_a_restart(workshop: Workshop, tmp_path: Path) -> None:
    """A build whose control plane was killed is built by the next one; its checkout is used as it is."""
    folder = tmp_path / "builds" / build_id("image:1")
    folder.mkdir(parents=True)
    (folder / "request.json").write_text(json.dumps({"commit": asdict(MINE), "image": "image:1"}))
    (folder / "log").write_text("a line that was shown\n")
    checkout = tmp_path / "checkouts" / folder.name
    checkout.mkdir(parents=True)
    (checkout / "kept").touch()
    checkout.with_name(f"{folder.name}.complete").touch()
    workshop.provider.down = True
    assert await workshop.builds.recover() == 1
    build = workshop.builds.join(MINE, "image:1")
    await build.result()
    assert build.story.events[0].message == "a line that was shown\n"
    assert await workshop.builds.recover() == 0


async def test_a_request_that_cannot_be_read_is_left(workshop: Workshop, tmp_path: Path) -> None:
    """A damaged request does not keep the service from starting."""
    folder = tmp_path / "builds" / "torn"
    folder.mkdir(parents=True)
    (folder / "request.json").write_text('{"commit":')
    assert await workshop.builds.recover() == 0


async def test_a_build_that_is_cut_off_keeps_no_result(workshop: Workshop, tmp_path: Path) -> None:
    """When the service stops mid-build, those who wait are told, and the next start takes the build up."""
    workshop.builder.gate.clear()
    build = workshop.builds.join(MINE, "image:1")
    await asyncio.sleep(0.05)
    await workshop.tasks.close()
    with pytest.raises(BuildFailed, match="taken up"):
        await build.result()
    assert not (tmp_path / "builds" / build.id / "result.json").exists()


async def test_an_error_of_our_own_fails_the_build(workshop: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
    """A bug while building is told as a failure to all who wait."""

    async def broken(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(FakeBuilder, "build", broken)
    with pytest.raises(BinderletError, match="error in binderlet itself"):
        await workshop.builds.join(MINE, "image:1").result()
    assert workshop.builds.running == 0


async def test_ended_builds_are_forgotten(tmp_path: Path) -> None:
    """Builds that ended are not kept in memory for ever."""
    async with Workshop(tmp_path, Settings(builder=BuilderSettings(concurrent=1))) as workshop:
        for number in range(3):
            await workshop.builds.join(MINE, f"image:{number}").result()
        await asyncio.sleep(0.01)
        assert len(workshop.builds.known()) <= 1


async def test_an_outdated_image_is_built_anew_in_the_background(workshop: Workshop) -> None:
    """The old image serves until the new one takes its name; its own log stays; once a day is enough."""
    first = await workshop.builds.join(MINE, "image:1").result()
    workshop.builder.outdated.add(first.id)
    workshop.builder.gate.clear()
    workshop.builds.refresh(MINE, first)
    workshop.builds.refresh(MINE, first)
    await asyncio.sleep(0.05)
    assert (await workshop.images.find("image:1")) == first
    workshop.builder.gate.set()
    (build,) = workshop.builds.known()
    second = await build.result()
    assert second.id != first.id
    assert (await workshop.images.find("image:1")) == second
    assert build.id != build_id("image:1")
    assert [request.refresh for request in workshop.builder.requests] == [False, True]
    workshop.builder.outdated.add(second.id)
    workshop.builds.refresh(MINE, second)
    assert len(workshop.builder.requests) == 2


async def test_a_refresh_waits_for_builds_that_are_waited_for(workshop: Workshop) -> None:
    """Images are built anew while nothing else is; who waits for one has its turn like any other."""
    first = await workshop.builds.join(MINE, "image:1").result()
    workshop.builder.outdated.add(first.id)
    workshop.builder.gate.clear()
    others = [workshop.builds.join(MINE, "image:2")]
    await asyncio.sleep(0.05)
    workshop.builds.refresh(MINE, first)
    await asyncio.sleep(0.05)
    assert (workshop.builds.running, workshop.builds.waiting) == (1, 1)
    others.append(workshop.builds.join(MINE, "image:3"))
    await asyncio.sleep(0.05)
    assert (workshop.builds.running, workshop.builds.waiting) == (2, 1)
    workshop.builder.gate.set()
    await asyncio.gather(*(build.result() for build in others))
    await eventually(lambda: [request.image for request in workshop.builder.requests][-1] == "image:1")
    await eventually(lambda: not workshop.builds.running)


async def test_an_image_that_is_not_outdated_is_left_alone(workshop: Workshop) -> None:
    """Nothing is built for an image on the newest base image."""
    image = await workshop.builds.join(MINE, "image:1").result()
    workshop.builds.refresh(MINE, image)
    await asyncio.sleep(0.01)
    assert len(workshop.builder.requests) == 1


async def test_failures_are_remembered_over_restarts(workshop: Workshop, tmp_path: Path) -> None:
    """The next control plane answers a failure from memory, with its log, until it is too old."""
    workshop.builder.error = BadRepository("apt.txt is wrong.", hint="Mend it.")
    with pytest.raises(BadRepository):
        await workshop.builds.join(MINE, "image:1").result()
    workshop.builder.error = EngineUnavailable("Away.")
    with pytest.raises(EngineUnavailable):
        await workshop.builds.join(MINE, "image:2").result()
    async with Workshop(tmp_path) as later:
        await later.builds.recover()
        build = later.builds.join(MINE, "image:1")
        with pytest.raises(BadRepository, match=r"apt\.txt is wrong"):
            await build.result()
        assert "Building...\n" in [event.message for event in build.story.events]
        assert later.builder.requests == []
        await later.builds.join(MINE, "image:2").result()
        await later.builds.join(MINE, "image:1", retry=True).result()
        assert len(later.builder.requests) == 2
    async with Workshop(tmp_path) as much_later:
        much_later.clock.now += much_later.settings.builder.failure_memory + 1
        await much_later.builds.recover()
        assert much_later.builds.known() == []
