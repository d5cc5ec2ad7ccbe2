"""Launches from request to session, on fakes."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from binderlet.config import Settings
from binderlet.config.schema import BuilderSettings, LimitSettings
from binderlet.errors import BuildFailed
from binderlet.events.kinds import LaunchEnded
from binderlet.launch import machine as m
from binderlet.launch import runner
from binderlet.launch.request import LaunchRequest
from support.eventually import eventually
from support.launches import Workshop, phases, told


async def test_a_new_repository_is_built_and_launched(workshop: Workshop) -> None:
    """The first launch builds, the second finds the image; both lead to sessions of their own."""
    first = workshop.launch()
    assert await phases(first) == ["waiting", "fetching", "building", "built", "launching", "ready"]
    second = workshop.launch()
    assert await phases(second) == ["built", "launching", "ready"]
    assert (first.waited_for_build, second.waited_for_build) == (True, False)
    routes = await workshop.router.routes()
    assert len(routes) == len(await workshop.engine.list()) == 2
    assert len(workshop.builder.requests) == 1


async def test_the_end_is_put_on_record(workshop: Workshop) -> None:
    """The record of a launch has its commit, session, status and what it asked for."""
    await told(workshop.launch())
    (ended,) = [fact for fact in workshop.facts if isinstance(fact, LaunchEnded)]
    assert (ended.status, ended.provider_name, ended.built) == ("success", "Fake", True)
    assert ended.session_id == next(iter(await workshop.router.routes()))
    assert ended.commit is not None
    assert set(ended.phase_seconds) == {"resolve", "build", "queue", "start", "route"}


async def test_build_only_starts_no_session(workshop: Workshop) -> None:
    """A launch that only builds ends with the image."""
    launch = workshop.launch(build_only=True)
    assert (await phases(launch))[-1] == "ready"
    assert workshop.engine.started == []
    assert workshop.places.taken == 0


@pytest.mark.parametrize(
    ("spec", "provider", "text"),
    [
        ("owner/repo/nope", "fake", "nope"),
        ("owner/none/main", "fake", "owner/none"),
        ("owner", "fake", "not of the form"),
        ("owner/repo/main", "nowhere", "No provider found for prefix nowhere"),
    ],
)
async def test_bad_requests_fail_with_one_event(workshop: Workshop, spec: str, provider: str, text: str) -> None:
    """What cannot be resolved fails at once, once, saying what is wrong."""
    (only,) = await told(workshop.launch(spec, provider=provider))
    assert only[0] == "failed"
    assert text in only[1]


async def test_banned_repositories_are_refused(tmp_path: Path) -> None:
    """A banned spec is refused before anything is asked of its host."""
    async with Workshop(tmp_path, Settings(limits=LimitSettings(banned_specs=["fake/owner/"]))) as workshop:
        (only,) = await told(workshop.launch())
        assert "not allowed to launch" in only[1]


async def test_a_failed_build_tells_its_log_and_closes(workshop: Workshop) -> None:
    """A failed build shows its lines, then fails once."""
    workshop.builder.lines = ["Step 1", "pip: no such package"]
    workshop.builder.error = BuildFailed("The step failed.")
    events = await told(workshop.launch())
    assert ("building", "pip: no such package") in events
    assert [phase for phase, _ in events].count("failed") == 1
    assert events[-1][1].startswith("The step failed.")
    assert workshop.places.taken == 0


async def test_ten_launches_share_one_build_and_its_log(workshop: Workshop) -> None:
    """Ten launches of one commit see the same log and wait for the same build."""
    workshop.builder.gate.clear()
    launches = [workshop.launch() for _ in range(10)]
    await asyncio.sleep(0.05)
    workshop.builder.gate.set()
    stories = await asyncio.gather(*map(told, launches))
    assert len(workshop.builder.requests) == 1
    assert all(("building", "Building...") in story for story in stories)
    assert len({story[-1][1] for story in stories}) == 10


async def test_a_failure_says_where_its_log_is(workshop: Workshop) -> None:
    """Early in a build, and again when it has failed, viewers learn its id; one who asks for it has it built again."""
    workshop.builder.error = BuildFailed("No.")
    launch = workshop.launch()
    await told(launch)
    ids = [event.fields["build_id"] for event in launch.story.events if "build_id" in event.fields]
    assert len(ids) == 2
    assert ids[0] == ids[1]
    assert launch.story.events[-1].fields["code"] == "build_failed"
    assert all("build_log" not in event.fields for event in launch.story.events)
    elsewhere = LaunchRequest(launch.request.spec, "http://m.test/", launch_host="http://fed.test/", retry=True)
    last = workshop.book.open(elsewhere)
    await told(last)
    assert last.story.events[-1].fields["build_log"] == f"http://m.test/api/builds/{ids[0]}/log"
    workshop.builder.error = None
    request = LaunchRequest(launch.request.spec, "http://binder.test/", retry=True)
    assert (await told(workshop.book.open(request)))[-1][0] == "ready"


async def test_a_launch_that_everyone_left_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without viewers a build in the queue does not begin; a viewer who comes back in time saves it."""
    monkeypatch.setattr(runner, "COMES_BACK", 0.02)
    async with Workshop(tmp_path, Settings(builder=BuilderSettings(concurrent=1))) as workshop:
        workshop.builder.gate.clear()
        with workshop.launch("owner/none/main").watched():  # it waits for no build
            pass
        first, left, kept = (workshop.launch(f"owner/{name}") for name in ("repo/main", "second/main", "repo/next"))
        await eventually(lambda: workshop.builds.waiting == 2)
        for launch in (first, left, kept):
            with launch.watched():
                await asyncio.sleep(0)
        with kept.watched():
            assert (await told(left))[-1][1].startswith("Everyone left")
            workshop.builder.gate.set()
            assert (await told(kept))[-1][0] == (await told(first))[-1][0] == "ready"
        await asyncio.sleep(0.05)


async def test_when_full_launches_queue_and_are_let_in(tmp_path: Path) -> None:
    """With one place, the second launch waits with its position and goes on when the first session ends."""
    async with Workshop(tmp_path, places=1) as workshop:
        await told(workshop.launch())
        second = workshop.launch()
        third = workshop.launch()
        await asyncio.sleep(0.05)
        assert "number 1 in the queue" in second.story.events[-1].message
        assert "number 2 in the queue" in third.story.events[-1].message
        (session,) = workshop.sessions.running()
        await workshop.sessions.stop(session, "test")
        assert (await told(second))[-1][0] == "ready"
        assert "number 1 in the queue" in third.story.events[-1].message
        fourth, fifth = workshop.launch(), workshop.launch()
        assert [phase for phase, _ in await told(fifth)] == ["built", "failed"]
    assert fourth.story.closed


async def test_waiting_too_long_is_a_refusal(tmp_path: Path) -> None:
    """A launch that gets no place in time is refused and leaves the queue."""
    async with Workshop(tmp_path, Settings(limits=LimitSettings(queue_timeout=0.1)), places=1) as workshop:
        await told(workshop.launch())
        events = await told(workshop.launch())
        assert "No place became free" in events[-1][1]
        assert workshop.places.waiting == 0


async def test_a_session_that_dies_gives_back_its_place(workshop: Workshop) -> None:
    """A session that ends at once fails the launch with its reason and frees the place."""
    workshop.engine.dies_at_once = "it ended with exit code 3"
    events = await told(workshop.launch())
    assert events[-1][0] == "failed"
    assert "exit code 3" in events[-1][1]
    assert (workshop.places.taken, await workshop.engine.list()) == (0, [])


async def test_an_engine_that_comes_back_is_used(workshop: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
    """An engine that is away for a moment delays a launch, and does not fail it."""
    monkeypatch.setattr(m, "FIRST_PAUSE", 0.2)
    await told(workshop.launch())
    workshop.engine.down = True
    launch = workshop.launch()
    await asyncio.sleep(0.1)
    workshop.engine.down = False
    events = await told(launch)
    assert ("launching", "Launch attempt 1 failed, retrying...") in events
    assert events[-1][0] == "ready"


async def test_an_unknown_image_state_is_not_missing(workshop: Workshop) -> None:
    """While the image store does not answer, nothing is built."""
    workshop.images.is_down = True
    (only,) = await told(workshop.launch())
    assert only[0] == "failed"
    assert workshop.builder.requests == []


async def test_a_recovered_session_is_announced(workshop: Workshop) -> None:
    """A session whose control plane ended before the announcement is routed and announced under its launch's id."""
    await told(workshop.launch())
    (session,) = workshop.sessions.running().values()
    await workshop.router.remove(session.id)
    launch = workshop.book.recover(session, "http://binder.test/")
    events = await told(launch)
    assert launch.id == session.launch_id
    assert [phase for phase, _ in events] == ["ready"]
    assert session.id in await workshop.router.routes()


async def test_an_error_of_our_own_fails_the_launch_cleanly(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A bug in a step ends the launch with a message, and gives back its place."""

    def broken(*_: object) -> str:
        raise ZeroDivisionError

    monkeypatch.setattr(runner, "image_name", broken)
    (only,) = await told(workshop.launch())
    assert "an error in binderlet itself" in only[1]


async def test_a_launch_that_is_cancelled_is_put_on_record(workshop: Workshop) -> None:
    """A launch that is cut off by the service's end closes its story."""
    workshop.builder.gate.clear()
    launch = workshop.launch()
    await asyncio.sleep(0.05)
    await workshop.tasks.close()
    assert launch.story.closed
    (ended,) = [fact for fact in workshop.facts if isinstance(fact, LaunchEnded)]
    assert ended.message == "The service was stopped."
