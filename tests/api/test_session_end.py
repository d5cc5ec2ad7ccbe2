"""``/api/sessions/<id>/end``."""

from __future__ import annotations

from dataclasses import replace

import pytest
from starlette.applications import Starlette

from binderlet.api.ports import no_session_end
from binderlet.api.routes import create_app
from binderlet.sessions.ending import SessionEnd
from support.asgi import ask
from support.services import Stage

ENDS = {
    "mine": SessionEnd("age", "/v2/gh/o/r/HEAD", 120.0, warn=True, ask_again=15.0, seen=4.0),
    "past": SessionEnd("it ran out of memory", "/v2/gh/o/r/HEAD"),
}


@pytest.fixture
def app(stage: Stage) -> Starlette:
    """A service that knows of two sessions."""
    return create_app(replace(stage.services(), session_end=ENDS.get))


async def test_before_and_after_the_end(app: Starlette) -> None:
    """Numbers for the page's script, never from a cache; a session that nobody knows is 404."""
    answer = await ask(app, "/api/sessions/mine/end")
    assert answer.headers["cache-control"] == "no-store"
    assert answer.json() == {
        "ended": False,
        "because": "age",
        "launch": "/v2/gh/o/r/HEAD",
        "ends_in": 120.0,
        "warn": True,
        "ask_again": 15.0,
        "seen": 4.0,
    }
    past = (await ask(app, "/api/sessions/past/end")).json()
    assert (past["ended"], past["because"], past["ends_in"]) == (True, "it ran out of memory", None)
    unknown = await ask(app, "/api/sessions/other/end")
    assert (unknown.status, unknown.json()["code"]) == (404, "session_unknown")


def test_services_without_sessions() -> None:
    """They know of no end."""
    assert no_session_end("any") is None
