"""Counting requests."""

from __future__ import annotations

import pytest
from starlette.responses import PlainTextResponse
from starlette.types import Message

from binderlet.api.timing import Timing, route_of


@pytest.mark.parametrize(
    ("path", "route"),
    [("/", "/"), ("/build/gh/o/r/main", "/build"), ("/health", "/health"), ("/wp-login.php", "other"), ("x", "/")],
)
def test_routes_are_few(path: str, route: str) -> None:
    """A path counts under its first segment, and anything unknown under one name."""
    assert route_of(path) == route


async def test_each_answer_is_told_once() -> None:
    """Every request is told with its route, status and duration, and is answered as before."""
    told: list[tuple[str, int, float]] = []
    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    async def receive() -> Message:
        return {"type": "http.request"}

    app = Timing(PlainTextResponse("no", 404), lambda *seen: told.append(seen))
    await app({"type": "http", "path": "/health", "method": "GET", "headers": []}, receive, send)
    ((route, status, seconds),) = told
    assert (route, status) == ("/health", 404)
    assert seconds >= 0
    assert [message["type"] for message in sent] == ["http.response.start", "http.response.body"]
