"""A launch's story as Server-Sent Events."""

from __future__ import annotations

import asyncio

import pytest

from binderlet.api.sse import CHUNK, KEEPALIVE, Streams, frame, frames, has_ended, send_once
from binderlet.events.kinds import LaunchEvent
from binderlet.model import Phase
from support.asgi import Stream
from support.fake_book import FakeLaunch, built_image
from support.values import REQUEST

GOLDEN = b"""\
id: abc-1
data: {"phase":"built","message":"Found built image, launching...\\n","imageName":"binderlet/i-x:abc"}

id: abc-2
data: {"phase":"launching","message":"Launching server...\\n"}

id: abc-3
data: {"phase":"launching","message":"Server requested\\n"}

id: abc-4
data: {"phase":"launching","message":"Server answers\\n"}

id: abc-5
data: {"phase":"ready","message":"server running at http://binder.test/user/s1/\\n","url":"http://binder.test/user/s1/","token":"t0ken"}

"""


def new_launch(*, waited: bool = False) -> FakeLaunch:
    """Give a launch about which nothing was said yet."""
    return FakeLaunch("abc", REQUEST, waited_for_build=waited)


async def watch(launch: FakeLaunch, stream: Stream, streams: Streams, after: int = 0) -> None:
    """Send the story into the stream."""
    await streams.send_story(launch, after, receive=stream.receive, send=stream.send, headers={})
    stream.finished.set()


async def test_a_story_that_has_ended_goes_out_at_once() -> None:
    """Five events are two messages to the server, exactly these bytes, and the stream closes."""
    launch, stream = new_launch(), Stream()
    built_image(launch)
    await watch(launch, stream, Streams(grace=60))
    assert stream.answer.body == GOLDEN
    assert (stream.answer.status, stream.answer.chunks, stream.answer.ended) == (200, 1, True)
    assert stream.answer.headers["content-type"] == "text/event-stream"


async def test_a_reader_resumes_after_what_it_has() -> None:
    """After event 3 only 4 and 5 are sent."""
    launch, stream = new_launch(), Stream()
    built_image(launch)
    await watch(launch, stream, Streams(grace=60), after=3)
    assert stream.answer.ids == ["abc-4", "abc-5"]


async def test_events_are_sent_as_they_come() -> None:
    """A viewer sees each event soon after it happened, and the end ends the stream."""
    launch, stream = new_launch(), Stream()
    async with asyncio.TaskGroup() as group:
        group.create_task(watch(launch, stream, Streams(grace=60)))
        for number in range(3):
            launch.say(Phase.LAUNCHING, f"step {number}\n")
            await stream.until(f"step {number}")
        launch.fail("no")
    assert [event["phase"] for event in stream.answer.events] == ["launching"] * 3 + ["failed"]
    assert stream.answer.ended


async def test_a_final_event_ends_the_stream_before_the_story_is_closed() -> None:
    """Nothing follows a final event: the viewer need not wait for book-keeping."""
    launch, stream = new_launch(), Stream()
    launch.say(Phase.FAILED, "no\n")
    await watch(launch, stream, Streams(grace=60))
    assert stream.answer.ended


async def test_a_story_without_an_end_closes_the_stream() -> None:
    """A story that was cut off, as when the service stops, ends its viewers too."""
    launch, stream = new_launch(), Stream()
    launch.story.close()
    await watch(launch, stream, Streams(grace=60))
    assert (stream.answer.body, stream.answer.ended) == (b"", True)


async def test_silence_is_kept_alive() -> None:
    """Where nothing happens, comments keep proxies from closing the connection."""
    launch, stream = new_launch(), Stream()
    async with asyncio.TaskGroup() as group:
        group.create_task(watch(launch, stream, Streams(grace=60, keepalive=0.01)))
        await stream.until((KEEPALIVE * 3).decode())
        launch.fail("no")


async def test_after_a_build_the_client_closes_first() -> None:
    """A ready that had waited for a build leaves the stream open, alive, for the grace time."""
    launch, stream = new_launch(waited=True), Stream()
    built_image(launch)
    await watch(launch, stream, Streams(grace=0.05, keepalive=0.02))
    assert stream.answer.body == GOLDEN + KEEPALIVE * 2
    assert stream.answer.ended


async def test_a_client_that_closes_cuts_the_grace_short() -> None:
    """Once the client has gone nothing holds the request any longer, and the launch is not touched."""
    launch, stream, streams = new_launch(waited=True), Stream(), Streams(grace=60)
    built_image(launch)
    async with asyncio.TaskGroup() as group:
        group.create_task(watch(launch, stream, streams))
        await stream.until("ready")
        assert len(streams) == 1
        stream.leave()
    assert len(streams) == 0


@pytest.mark.parametrize("waited", [False, True])
async def test_a_failure_closes_at_once(*, waited: bool) -> None:
    """After ``failed`` there is no grace, whether something was built or not."""
    launch, stream = new_launch(waited=waited), Stream()
    launch.fail("no")
    await watch(launch, stream, Streams(grace=60))
    assert stream.answer.ended


async def test_a_leaving_viewer_stops_nothing() -> None:
    """One viewer leaves, the other one and the launch go on."""
    launch, first, second, streams = new_launch(), Stream(), Stream(), Streams(grace=60)
    launch.say(Phase.WAITING, "hello\n")
    async with asyncio.TaskGroup() as group:
        group.create_task(watch(launch, first, streams))
        group.create_task(watch(launch, second, streams))
        await second.until("hello")
        first.leave()
        await first.finished.wait()
        launch.ready()
    assert "ready" not in first.answer.text
    assert "ready" in second.answer.text


async def test_closing_ends_all_streams_in_good_order() -> None:
    """A stopping server ends its viewers' streams, also one that begins meanwhile; they may come back later."""
    streams, streams_seen = Streams(grace=60), [Stream(), Stream()]
    launch = new_launch()
    launch.say(Phase.WAITING, "hello\n")
    async with asyncio.TaskGroup() as group:
        group.create_task(watch(launch, streams_seen[0], streams))
        await streams_seen[0].until("hello")
        streams.close()
        group.create_task(watch(launch, streams_seen[1], streams))
    assert all(stream.answer.ended for stream in streams_seen)
    assert not launch.story.closed


async def test_a_slow_socket_takes_one_chunk_at_a_time() -> None:
    """While the server's buffer is full nothing more is made for that viewer; later it gets all of it, once."""
    launch, stream = new_launch(), Stream()
    for number in range(1000):
        launch.say(Phase.BUILDING, f"{number} {'x' * 1000}\n")
    launch.ready()
    body, number = frames(launch, 0)
    assert CHUNK <= len(body) < CHUNK + 2000
    assert number < 100
    async with asyncio.TaskGroup() as group:
        stream.held.clear()
        group.create_task(watch(launch, stream, Streams(grace=60)))
        await asyncio.sleep(0.02)
        assert stream.answer.body == b""
        stream.held.set()
    assert stream.answer.ids == [f"abc-{number}" for number in range(1, 1002)]


def test_an_open_story_has_not_ended() -> None:
    """An empty story, unread events and an event without a phase are no end."""
    launch = new_launch()
    assert not has_ended(launch, 0)
    launch.say(None, "Picked Git content provider.\n")
    assert not has_ended(launch, 0)
    assert not has_ended(launch, 1)


async def test_a_refusal_is_a_whole_stream() -> None:
    """A single frame without an id, with the headers that belong to it."""
    stream = Stream()
    await send_once(stream.send, frame(LaunchEvent(Phase.FAILED, "no\n")), {"retry-after": "7"})
    assert stream.answer.body == b'data: {"phase":"failed","message":"no\\n"}\n\n'
    assert (stream.answer.headers["retry-after"], stream.answer.ended) == ("7", True)
