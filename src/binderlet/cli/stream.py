"""Follows the events of a launch, across broken connections and restarts of the service."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import aiohttp
from yarl import URL

from binderlet.cli.admin import error_of
from binderlet.errors import ServiceUnavailable

FINAL = frozenset({"ready", "failed"})
SILENCE = 90.0
"""Seconds without a byte after which a connection is dead; the service gives a sign of life more often."""
ATTEMPTS = 10
"""Connections in a row that may bring nothing new."""
PAUSE = 1.0
"""Seconds before the next one."""


@dataclass(frozen=True, slots=True)
class Event:
    """One event of the stream."""

    id: str
    body: dict[str, Any]

    @property
    def phase(self) -> str:
        """Its phase; empty where it has none."""
        return str(self.body.get("phase") or "")

    @property
    def message(self) -> str:
        """Its text, without the line end."""
        return str(self.body.get("message") or "").rstrip("\n")


class Parser:
    """Makes events of bytes as they come; comments, unknown fields and what is not JSON are passed over."""

    def __init__(self) -> None:
        self._rest = b""
        self._id = ""
        self._data: list[str] = []

    def feed(self, chunk: bytes) -> list[Event]:
        """Give the events that are complete now."""
        *lines, self._rest = (self._rest + chunk).split(b"\n")
        events = (self._line(line.rstrip(b"\r").decode("utf-8", "replace")) for line in lines)
        return [event for event in events if event is not None]

    def _line(self, line: str) -> Event | None:
        if not line:
            return self._dispatch()
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if name == "id":
            self._id = value
        elif name == "data":
            self._data.append(value)
        return None

    def _dispatch(self) -> Event | None:
        text, self._data = "\n".join(self._data), []
        try:
            body = json.loads(text) if text else None
        except ValueError:
            return None
        return Event(self._id, body) if isinstance(body, dict) else None


async def follow(session: aiohttp.ClientSession, url: URL, *, pause: float = PAUSE) -> AsyncIterator[Event]:
    """Yield each event once, until ``ready`` or ``failed``.

    A connection that breaks is made anew, from the last event on.

    Raises:
        ServiceUnavailable: no connection could be made, or none brought anything new for too long.
        BinderletError: the service answered with an error instead of a stream.
    """
    last = Event("", {})
    failures = 0
    while True:
        try:
            async for event in _connection(session, url, last.id):
                failures, last = 0, event
                yield event
                if event.phase in FINAL:
                    return
        except aiohttp.ClientConnectorError as error:
            if not last.id:
                raise ServiceUnavailable("No service runs here.") from error
            reason = str(error)
        except (aiohttp.ClientError, TimeoutError) as error:
            reason = str(error) or type(error).__name__
        else:
            reason = "it ended the stream too early"
        failures += 1
        if failures >= ATTEMPTS:
            raise ServiceUnavailable(
                f"The service stopped answering: {reason}.", hint="Look at its log, then launch again."
            )
        await asyncio.sleep(pause)


async def _connection(session: aiohttp.ClientSession, url: URL, last: str) -> AsyncIterator[Event]:
    headers = {"Accept": "text/event-stream"} | ({"Last-Event-ID": last} if last else {})
    timeout = aiohttp.ClientTimeout(total=None, sock_read=SILENCE)
    async with session.get(url, headers=headers, timeout=timeout) as response:
        if not response.ok:
            raise error_of(response.status, await response.text())
        parser = Parser()
        async for chunk in response.content.iter_any():
            for event in parser.feed(chunk):
                yield event
