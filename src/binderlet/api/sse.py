"""Sends a launch's story to one viewer as Server-Sent Events.

This is a plain ASGI response instead of ``sse-starlette``: all events that are there go out in one body chunk,
and a story that has ended needs no task at all. That serves more than four times as many requests a second
(``docs/reference/api.md`` has the figures). A viewer costs at most ``CHUNK`` bytes beyond the socket's own buffer: the
next chunk is made only after the server has taken the one before.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from starlette.types import Message, Receive, Send

from binderlet.api.ports import Launch
from binderlet.events.kinds import LaunchEvent

CHUNK = 65536
"""Bytes after which a chunk is sent; one long line may make it longer."""
KEEPALIVE_EVERY = 25.0
"""Seconds; BinderHub's, below the shortest time-out of common proxies."""
KEEPALIVE = b":keepalive\n\n"
HEADERS = [
    (b"content-type", b"text/event-stream"),
    (b"cache-control", b"no-cache"),
    (b"x-accel-buffering", b"no"),
]


def frame(event: LaunchEvent) -> bytes:
    """Give an event that belongs to no launch, such as a refusal."""
    return b"data: " + event.data + b"\n\n"


def frames(launch: Launch, after: int) -> tuple[bytes, int]:
    """Give what there is after event number ``after``, up to about ``CHUNK`` bytes, and the last number in it."""
    prefix = b"id: " + launch.id.encode() + b"-"
    parts: list[bytes] = []
    size, number = 0, after
    events = launch.story.events
    while number < len(events) and size < CHUNK:
        number += 1
        part = b"%b%d\ndata: %b\n\n" % (prefix, launch.numbers_from + number, events[number - 1].data)
        parts.append(part)
        size += len(part)
    return b"".join(parts), number


def has_ended(launch: Launch, position: int) -> bool:
    """Tell whether nothing will follow event number ``position``."""
    events = launch.story.events
    if position < len(events):
        return False
    if launch.story.closed:
        return True
    last = events[-1].phase if events else None
    return last is not None and last.is_final


def start_message(extra: Mapping[str, str]) -> Message:
    """Give the message that opens a stream; its status is 200 whatever follows, as clients expect."""
    headers = [*HEADERS, *((name.encode(), value.encode()) for name, value in extra.items())]
    return {"type": "http.response.start", "status": 200, "headers": headers}


async def send_once(send: Send, body: bytes, extra: Mapping[str, str]) -> None:
    """Send a whole stream that is known from the start."""
    await send(start_message(extra))
    await send({"type": "http.response.body", "body": body})


class Streams:
    """All open streams; ``close`` ends them, so that a stopping server need not wait for viewers."""

    def __init__(self, *, grace: float, keepalive: float = KEEPALIVE_EVERY) -> None:
        self._grace = grace
        self._keepalive = keepalive
        self._open: set[asyncio.Task[None]] = set()
        self._closed = False

    def __len__(self) -> int:
        return len(self._open)

    def close(self) -> None:
        """End every open stream in good order; clients come back with ``Last-Event-ID``. Idempotent."""
        self._closed = True
        for pump in list(self._open):
            pump.cancel()

    async def send_story(
        self, launch: Launch, after: int, *, receive: Receive, send: Send, headers: Mapping[str, str]
    ) -> None:
        """Send what follows event number ``after`` until the story ends, the viewer leaves, or ``close``."""
        await send(start_message(headers))
        body, position = frames(launch, after)
        done = has_ended(launch, position) and not self._linger(launch)
        await send({"type": "http.response.body", "body": body, "more_body": not done})
        if done:
            return
        with launch.watched():
            async with asyncio.TaskGroup() as group:
                pump = group.create_task(self._pump(launch, position, send), name=f"viewer of {launch.id}")
                leaving = group.create_task(until_gone(receive), name=f"viewer of {launch.id} leaves")
                self._open.add(pump)
                if self._closed:
                    pump.cancel()
                try:
                    await asyncio.wait({pump, leaving}, return_when=asyncio.FIRST_COMPLETED)
                finally:
                    self._open.discard(pump)
                    pump.cancel()
                    leaving.cancel()
        await send({"type": "http.response.body", "body": b""})

    def _linger(self, launch: Launch) -> bool:
        """Whether the client closes first: after a build, a reconnect by ``EventSource`` would launch anew."""
        events = launch.story.events
        failed = not events or events[-1].phase != "ready"
        return launch.waited_for_build and not failed and self._grace > 0 and not self._closed

    async def _pump(self, launch: Launch, position: int, send: Send) -> None:
        while not has_ended(launch, position):
            body, position = frames(launch, position)
            if not body:
                body = await self._quiet(launch, position)
            if body:
                await send({"type": "http.response.body", "body": body, "more_body": True})
        if self._linger(launch):
            await self._wait_for_client(send)

    async def _quiet(self, launch: Launch, position: int) -> bytes:
        """Wait for something new; give a sign of life where nothing came for ``keepalive`` seconds."""
        try:
            async with asyncio.timeout(self._keepalive):
                await launch.story.wait(position)
        except TimeoutError:
            return KEEPALIVE
        return b""

    async def _wait_for_client(self, send: Send) -> None:
        left = self._grace
        while left > 0:
            await asyncio.sleep(min(left, self._keepalive))
            left -= self._keepalive
            if left > 0:
                await send({"type": "http.response.body", "body": KEEPALIVE, "more_body": True})


async def until_gone(receive: Receive) -> None:
    """Return once the client has left."""
    while (await receive())["type"] != "http.disconnect":
        pass
