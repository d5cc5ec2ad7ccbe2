"""The URL table."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import cast

import pytest
from starlette.applications import Starlette
from starlette.routing import Match, Route
from structlog.testing import capture_logs

from binderlet.api.ports import Desk
from binderlet.api.routes import Prefix, reservation_routes
from support.asgi import STREAM, ask, opened
from support.services import Stage

DOCS = Path(__file__).parents[2] / "docs" / "reference" / "api.md"


def test_reservations_have_urls_where_there_is_a_desk() -> None:
    """They can be listed, made and dropped."""
    services = Stage().services()
    assert reservation_routes(services) == []
    routes = reservation_routes(replace(services, desk=cast("Desk", object())))
    assert [route.path for route in routes] == ["/reservations", "/reservations", "/reservations/{reservation_id}"]


@pytest.mark.parametrize(
    ("method", "path"),
    [("POST", "/health"), ("DELETE", "/v2/gh/a/b/c"), ("PUT", "/static/app.css"), ("POST", "/")],
)
async def test_a_wrong_method_is_405(app: Starlette, method: str, path: str) -> None:
    """A URL that exists says that the method does not; readable by any site."""
    answer = await ask(app, path, method=method)
    assert (answer.status, answer.json()["code"]) == (405, "method_not_allowed")
    assert answer.headers["access-control-allow-origin"] == "*"


@pytest.mark.parametrize("path", ["/sessions", "/shutdown", "/sessions/x", "/builds"])
async def test_the_operators_urls_are_not_public(app: Starlette, stage: Stage, path: str) -> None:
    """What the private socket offers does not exist on the public one."""
    for method in ("GET", "POST", "DELETE"):
        assert (await ask(app, path, method=method)).status == 404
    assert not stage.operations.shut_down


async def test_a_bug_is_readable_by_any_site(app: Starlette, stage: Stage) -> None:
    """Even an unforeseen error has the CORS headers, which thebe and others need to show it."""
    stage.status = None  # type: ignore[assignment] # makes the handler fail
    with capture_logs():
        answer = await ask(app, "/health")
    assert (answer.status, answer.headers["access-control-allow-origin"]) == (500, "*")


async def test_a_stopping_service_ends_its_streams(app: Starlette, stage: Stage) -> None:
    """The handle that the composition root uses ends what is open."""
    stage.book.plan = lambda launch: launch.say(None, "hello\n")
    async with opened(app, "/build/gh/a/b/c", STREAM) as stream:
        await stream.until("hello")
        app.state.streams.close()
        await stream.finished.wait()
    assert stream.answer.ended


def test_a_prefix_takes_http_alone() -> None:
    """WebSockets and other paths are not its business."""

    async def never(*_: object) -> None:  # pragma: no cover - must not be called
        """Fail."""
        raise AssertionError

    prefix = Prefix("/x/", never)
    assert prefix.matches({"type": "http", "path": "/x/\n"})[0] is Match.FULL
    assert prefix.matches({"type": "http", "path": "/x"})[0] is Match.NONE
    assert prefix.matches({"type": "websocket", "path": "/x/"})[0] is Match.NONE


def test_every_url_is_documented(app: Starlette, admin: Starlette) -> None:
    """The reference page names each URL of both services."""
    documented = set(re.findall(r"`(?:[A-Z]+ )?(/[^`\s]*)`", DOCS.read_text("utf-8")))
    routes = [route for each in (app, admin) for route in each.routes]
    for route in routes:
        assert isinstance(route, Route | Prefix)
        found = route.path in documented or any(name.startswith(route.path) for name in documented)
        assert found, route.path
