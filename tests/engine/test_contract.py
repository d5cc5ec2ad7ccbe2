"""What every engine keeps, whatever runs beneath it."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import replace

import pytest

from binderlet.engine.fake import FakeEngine
from binderlet.errors import ImageMissing, SessionDied
from binderlet.model import Session, SessionState
from support.engine_harness import DIES, SPEC, Harness, spec_of


async def test_started_session_is_listed_as_it_was_asked_for(harness: Harness) -> None:
    """Everything about a session comes back from the engine, so that a new control plane finds it again."""
    session = await harness.engine.start(SPEC)
    assert session == Session(
        id=SPEC.id,
        token=SPEC.token,
        image=SPEC.image,
        launch_id=SPEC.launch_id,
        provider=SPEC.provider,
        spec=SPEC.spec,
        repo_url=SPEC.repo_url,
        created_at=SPEC.created_at,
        state=SessionState.RUNNING,
        address=session.address,
        engine_id=session.engine_id,
    )
    assert session.address.endswith(":8888")
    assert session.engine_id
    assert await harness.engine.list() == [session]


async def test_nothing_is_listed_at_first(harness: Harness) -> None:
    """An instance without sessions lists none."""
    assert await harness.engine.list() == []


async def test_prepare_is_idempotent(harness: Harness) -> None:
    """Preparing again, also at the same time, changes nothing."""
    await asyncio.gather(harness.engine.prepare(), harness.engine.prepare())
    await harness.engine.start(SPEC)
    await harness.engine.prepare()
    assert len(await harness.engine.list()) == 1


async def test_stopped_session_leaves_no_trace(harness: Harness) -> None:
    """Stopping removes all that a start made."""
    await harness.engine.start(SPEC)
    await harness.engine.stop(SPEC.id)
    assert await harness.engine.list() == []
    assert await asyncio.to_thread(harness.traces) == 0


async def test_stop_is_idempotent(harness: Harness) -> None:
    """A session may be stopped twice, at the same time, and an unknown one at any time."""
    await harness.engine.start(SPEC)
    await asyncio.gather(*(harness.engine.stop(SPEC.id) for _ in range(3)))
    await harness.engine.stop(SPEC.id)
    await harness.engine.stop("never-seen")
    assert await harness.engine.list() == []


async def test_id_is_free_again_after_stop(harness: Harness) -> None:
    """A stopped session's id can be used again."""
    await harness.engine.start(SPEC)
    await harness.engine.stop(SPEC.id)
    assert (await harness.engine.start(SPEC)).state is SessionState.RUNNING


async def test_sessions_start_and_stop_at_the_same_time(harness: Harness) -> None:
    """Concurrent starts and stops do not disturb each other."""
    specs = [spec_of(f"many-{number}") for number in range(3)]
    sessions = await asyncio.gather(*(harness.engine.start(spec) for spec in specs))
    assert sorted(session.id for session in await harness.engine.list()) == ["many-0", "many-1", "many-2"]
    if harness.is_real:
        assert len({session.address for session in sessions}) == 3
    await asyncio.gather(*(harness.engine.stop(spec.id) for spec in specs))
    assert await asyncio.to_thread(harness.traces) == 0


async def test_unknown_image_is_missing(harness: Harness) -> None:
    """An image that the engine does not have is reported as such, never pulled."""
    with pytest.raises(ImageMissing, match="no-such-image"):
        await harness.engine.start(replace(SPEC, image="binderlet-test/no-such-image:1"))
    assert await asyncio.to_thread(harness.traces) == 0


async def test_session_that_dies_at_once_is_reported(harness: Harness) -> None:
    """A program that ends at once makes the start fail, or is seen to have ended with its exit code."""
    if isinstance(harness.engine, FakeEngine):
        harness.engine.dies_at_once = "it ended with exit code 3"
    watch = harness.engine.watch()
    said = ""
    try:
        await harness.engine.start(replace(SPEC, command=DIES))
    except SessionDied as error:
        said = str(error)
        assert await asyncio.to_thread(harness.traces) == 0
    else:
        # Engines return from a start before the program has had its first moment.
        said = (await asyncio.wait_for(anext(watch), 5)).ended_because
    assert "exit code 3" in said


async def test_watch_sees_the_end_of_a_session(harness: Harness) -> None:
    """A session that ends is yielded within five seconds, with its exit code and the reason."""
    watch = harness.engine.watch()
    session = await harness.engine.start(SPEC)
    await asyncio.to_thread(harness.end, session) if harness.is_real else harness.end(session)
    ended = await asyncio.wait_for(anext(watch), 5)
    assert ended == replace(session, state=SessionState.ENDED, address="", exit_code=137, ended_because="it was killed")
    [listed] = await harness.engine.list()
    assert (listed.state, listed.exit_code, listed.ended_because) == (SessionState.ENDED, 137, "it was killed")


async def test_watch_sees_sessions_that_were_stopped(harness: Harness) -> None:
    """A stop is an end like any other, and says that it was wanted."""
    watch = harness.engine.watch()
    await harness.engine.start(SPEC)
    await harness.engine.stop(SPEC.id)
    ended = await asyncio.wait_for(anext(watch), 5)
    assert (ended.id, ended.state, ended.ended_because) == (SPEC.id, SessionState.ENDED, "it was stopped")


async def test_two_watches_see_the_same(harness: Harness) -> None:
    """Each watch yields each end."""
    watches = [harness.engine.watch(), harness.engine.watch()]
    await harness.engine.start(SPEC)
    await harness.engine.stop(SPEC.id)
    seen = await asyncio.wait_for(asyncio.gather(*(anext(watch) for watch in watches)), 5)
    assert [session.id for session in seen] == [SPEC.id, SPEC.id]


async def test_last_lines_can_be_read(harness: Harness) -> None:
    """The last lines are there while the session runs, fewer on demand; an unknown session has none."""
    await harness.engine.start(SPEC)
    async with asyncio.timeout(5):
        while "last words" not in await harness.engine.logs(SPEC.id):  # noqa: ASYNC110 - engines tell nobody
            await asyncio.sleep(0.05)
    assert (await harness.engine.logs(SPEC.id)).splitlines() == ["first", "last words"]
    assert (await harness.engine.logs(SPEC.id, lines=1)).strip() == "last words"
    assert await harness.engine.logs("never-seen") == ""


async def test_other_instances_are_not_seen(harness: Harness) -> None:
    """Another control plane's sessions are not listed, stopped or watched."""
    async with harness.rival() as rival:
        watch = rival.watch()
        await harness.engine.start(SPEC)
        assert await rival.list() == []
        await rival.stop(SPEC.id)
        assert len(await harness.engine.list()) == 1
        await harness.engine.stop(SPEC.id)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(anext(watch), 0.3)


@pytest.mark.parametrize("after", [0.0, 0.03, 0.2])
async def test_cancelled_start_leaves_nothing(harness: Harness, after: float) -> None:
    """Whenever a start is cancelled, nothing of it is there when it has ended."""
    if isinstance(harness.engine, FakeEngine):
        harness.engine.delay = 1.0
    start = asyncio.gather(harness.engine.start(SPEC))
    await asyncio.sleep(after)
    start.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await start
        # It was faster than this test; that is no cancelled start.
        return
    assert await harness.engine.list() == []
    assert await asyncio.to_thread(harness.traces) == 0


async def test_ping_says_who_it_is(harness: Harness) -> None:
    """The engine gives its name and version."""
    name, version = (await harness.engine.ping()).split(" ")
    assert name in {"Fake", "Docker", "Podman", "Kubernetes"}
    assert version[0].isdigit()


async def test_close_is_idempotent_and_sessions_go_on(harness: Harness) -> None:
    """Closing twice is fine."""
    await harness.engine.start(SPEC)
    await harness.engine.close()
    await harness.engine.close()
    assert await asyncio.to_thread(harness.traces) > 0
