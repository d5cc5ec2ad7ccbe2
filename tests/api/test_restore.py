"""Bringing images back, over HTTP."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from starlette.applications import Starlette

from binderlet.api.ports import Services
from binderlet.api.restore import restore_routes
from binderlet.errors import ImagesUnavailable
from support.asgi import ask
from support.services import Stage


class Restorer:
    """Counts what it is asked."""

    def __init__(self) -> None:
        self.begun: list[tuple[int, int]] = []
        self.is_down = False

    async def begin(self, count: int, room: int) -> None:
        """Note it."""
        if self.is_down:
            raise ImagesUnavailable("The registry does not answer.")
        self.begun.append((count, room))

    def progress(self) -> Mapping[str, Any]:
        """Say how far it is."""
        return {"running": bool(self.begun)}


@pytest.fixture
def services() -> Services:
    """Everything else behind the URLs."""
    return Stage().services()


def app(services: Services, restorer: Restorer | None) -> Starlette:
    """The endpoints alone."""
    return Starlette(routes=restore_routes(replace(services, restorer=restorer)))


async def test_begun_and_watched(services: Services) -> None:
    """A restoration begins with its limits, and says how far it is."""
    restorer = Restorer()
    answer = await ask(app(services, restorer), "/images/restore?count=3&bytes=70", method="POST")
    assert (answer.status, answer.json()) == (202, {"running": True})
    assert restorer.begun == [(3, 70)]
    answer = await ask(app(services, restorer), "/images/restore")
    assert (answer.status, answer.json()) == (200, {"running": True})


async def test_problems(services: Services) -> None:
    """Limits that make no sense, a registry that is away, and none at all are said to be that."""
    restorer = Restorer()
    restorer.is_down = True
    answer = await ask(app(services, restorer), "/images/restore?count=3", method="POST")
    assert answer.status == 400
    answer = await ask(app(services, restorer), "/images/restore?count=3&bytes=70", method="POST")
    assert (answer.status, answer.json()["code"]) == (503, "images_unavailable")
    for method in ("GET", "POST"):
        answer = await ask(app(services, None), "/images/restore?count=3&bytes=70", method=method)
        assert answer.status == 503
        assert "registry.s3" in answer.json()["hint"]
