"""``binderlet reserve``."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from binderlet.cli.reserve import describe, moment
from binderlet.cli.status import describe as describe_status
from support.admin_service import STATUS, AdminService, running
from support.command import Command

NOW = datetime(2026, 11, 23, 8, 30, tzinfo=UTC)
MADE = {
    "id": "r1",
    "provider": "gh",
    "spec": "owner/repo/HEAD",
    "count": 60,
    "from": NOW.timestamp(),
    "to": NOW.timestamp() + 3600,
    "ready": 12,
    "launched": 3,
    "problem": "",
}


@dataclass
class Service(AdminService):
    """Also takes reservations."""

    def app(self) -> web.Application:
        """Add the URLs."""
        app = super().app()
        app.router.add_get("/reservations", self._reservations)
        app.router.add_post("/reservations", self._reserve)
        app.router.add_delete("/reservations/{id}", self._cancel)
        return app

    async def _reservations(self, _request: web.Request) -> web.Response:
        return web.json_response([MADE] if self.sessions else [])

    async def _reserve(self, request: web.Request) -> web.Response:
        query: dict[str, Any] = dict(request.query)
        made = {**MADE, **query, "from": float(query["from"]), "to": float(query["to"]), "ready": 0, "launched": 0}
        return web.json_response(made, status=201)

    async def _cancel(self, _request: web.Request) -> web.Response:
        return web.Response(status=204)


@pytest.fixture
def command(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Command:
    """The command line, where no settings file lies about."""
    monkeypatch.chdir(tmp_path)
    return Command(tmp_path, capsys)


def test_reserve(command: Command) -> None:
    """A repository, a number and two times make a reservation."""
    times = ("--from", "2026-11-23T09:00", "--to", "2026-11-23T12:00")
    with running(command.state, Service()) as service:
        assert command("reserve", "https://github.com/owner/repo", "--count", "60", *times) == 0
    assert service.asked[0].startswith("POST /reservations?provider=gh&spec=owner%2Frepo%2FHEAD&count=60&from=")
    assert command.out.startswith("r1: 60 of gh/owner/repo/HEAD, 2026-11-23 09:00 to 2026-11-23 12:00, 0 ready")


def test_list_and_cancel(command: Command) -> None:
    """Reservations are listed for people and for programs, and dropped by their id."""
    with running(command.state, Service()) as service:
        assert command("reserve", "--list", "--json") == 0
        assert json.loads(command.out) == [MADE]
        assert command("reserve", "--cancel", "r1") == 0
        assert command.out == "Reservation r1 is dropped.\n"
        service.sessions = []
        assert command("reserve", "--list") == 0
        assert command.out == "Nothing is reserved.\n"
    assert service.asked[1] == "DELETE /reservations/r1"


@pytest.mark.parametrize("arguments", [(), ("https://github.com/owner/repo",), ("--to", "12:00")])
def test_usage(command: Command, arguments: tuple[str, ...]) -> None:
    """Without a repository and an end there is nothing to do."""
    assert command("reserve", *arguments) == 2
    assert "--list" in command.err


def test_moments() -> None:
    """No time is now, and a time of day is today's."""
    assert moment(None, NOW) == NOW.timestamp()
    assert moment(datetime(2026, 11, 24, 9, tzinfo=UTC), NOW) == datetime(2026, 11, 24, 9, tzinfo=UTC).timestamp()
    assert moment(datetime(1900, 1, 1, 9, 15, tzinfo=UTC), NOW) == NOW.replace(hour=9, minute=15).timestamp()


def test_lines() -> None:
    """A problem is said; the status has the same lines."""
    assert describe(MADE).endswith("12 ready, 3 launched")
    assert describe({**MADE, "problem": "no such repository"}).endswith("; problem: no such repository")
    assert f"reserved: {describe(MADE)}" in describe_status(STATUS | {"reservations": [MADE]})
    assert ", 3 on standby" in describe_status(STATUS | {"standbys": 3})[1]
