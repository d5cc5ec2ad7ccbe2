"""Asks an ASGI application without a server: one request in, everything it sends out."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote

from starlette.types import ASGIApp, Message, Scope

STREAM = {"accept": "text/event-stream"}
PAGE = {"accept": "text/html"}


@dataclass
class Answer:
    """What was sent so far."""

    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    chunks: int = 0
    ended: bool = False

    @property
    def text(self) -> str:
        """The body as text."""
        return self.body.decode()

    def json(self) -> Any:  # noqa: ANN401 - whatever the body holds
        """Give the body's JSON."""
        return json.loads(self.body)

    @property
    def events(self) -> list[dict[str, Any]]:
        """The JSON objects of an event stream."""
        return [json.loads(line[6:]) for line in self.text.splitlines() if line.startswith("data: ")]

    @property
    def ids(self) -> list[str]:
        """The ids of an event stream."""
        return [line[4:] for line in self.text.splitlines() if line.startswith("id: ")]


def scope_for(method: str, target: str, headers: Mapping[str, str], client: tuple[str, int] | None) -> Scope:
    """Make a scope as uvicorn does, with the raw path as it was sent."""
    path, _, query = target.partition("?")
    sent = {"host": "binder.test", **headers}
    return {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": unquote(path),
        "raw_path": path.encode(),
        "query_string": query.encode(),
        "root_path": "",
        "headers": [(name.lower().encode(), value.encode()) for name, value in sent.items()],
        "client": client,
        "server": ("binder.test", 80),
    }


async def ask(
    app: ASGIApp,
    target: str,
    headers: Mapping[str, str] | None = None,
    *,
    method: str = "GET",
    client: tuple[str, int] | None = ("127.0.0.1", 1),
) -> Answer:
    """Send one request and wait for the whole answer."""
    async with opened(app, target, headers, method=method, client=client) as stream:
        await stream.finished.wait()
    return stream.answer


@dataclass
class Stream:
    """A request that may still be answered."""

    answer: Answer = field(default_factory=Answer)
    finished: asyncio.Event = field(default_factory=asyncio.Event)
    gone: asyncio.Event = field(default_factory=asyncio.Event)
    _news: asyncio.Event = field(default_factory=asyncio.Event)
    asked: bool = False
    held: asyncio.Event = field(default_factory=asyncio.Event)
    """While this is clear, the server's buffer is full and takes no more."""

    def __post_init__(self) -> None:
        self.held.set()

    async def send(self, message: Message) -> None:
        """Take what the application sends."""
        await self.held.wait()
        answer = self.answer
        if message["type"] == "http.response.start":
            answer.status = message["status"]
            answer.headers = {name.decode(): value.decode() for name, value in message["headers"]}
        else:
            answer.body += message.get("body", b"")
            answer.chunks += 1
            answer.ended = not message.get("more_body", False)
        self._news.set()

    async def receive(self) -> Message:
        """Give the empty body of the request, then say that the client has left, once it has."""
        if not self.asked:
            self.asked = True
            return {"type": "http.request", "body": b"", "more_body": False}
        await self.gone.wait()
        return {"type": "http.disconnect"}

    def leave(self) -> None:
        """Close the connection from the client's side."""
        self.gone.set()

    async def until(self, text: str) -> None:
        """Wait until the body holds ``text``."""
        while text not in self.answer.text:
            self._news.clear()
            await asyncio.wait_for(self._news.wait(), 5)


@asynccontextmanager
async def opened(
    app: ASGIApp,
    target: str,
    headers: Mapping[str, str] | None = None,
    *,
    method: str = "GET",
    client: tuple[str, int] | None = ("127.0.0.1", 1),
) -> AsyncIterator[Stream]:
    """Send one request and look at the answer while it comes; the client leaves at the end."""
    stream = Stream()

    async def run() -> None:
        """Answer, and say so at the end."""
        try:
            await app(scope_for(method, target, headers or {}, client), stream.receive, stream.send)
        finally:
            stream.finished.set()

    async with asyncio.TaskGroup() as group:
        group.create_task(run())
        yield stream
        stream.leave()
        stream.held.set()
