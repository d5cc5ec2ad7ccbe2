"""``binderlet images``."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from binderlet.cli import images
from binderlet.cli.images import bytes_text, explain
from support.admin_service import AdminService, running
from support.command import Command

GB = 1024**3
ROW: dict[str, Any] = {
    "id": "image:sha256:aa",
    "kind": "image",
    "name": "binderlet/i-x:1",
    "repository": "https://github.com/o/r",
    "owner": "github.com/o",
    "size": 2 * GB,
    "own": 3 * 1024**2,
    "launches": 7,
    "popularity": 1.25,
    "cost_seconds": 60.0,
    "idle_seconds": 7200,
    "owner_factor": 1,
    "rank": 1,
    "keep": "",
}
LOG = ROW | {"kind": "log", "name": "log of build 1", "rank": None, "keep": "its build goes on"}
PINS = [{"name": "a", "fixed": True}, {"name": "b", "fixed": False}]
STEP = {"names": ["a:1", "b:1"], "kind": "image", "frees": GB, "costs_seconds": 5.0, "why": "it is worth least"}


@dataclass
class Service(AdminService):
    """Also knows images."""

    rows: list[dict[str, Any]] = field(default_factory=lambda: [ROW, LOG])
    steps: list[dict[str, Any]] = field(default_factory=lambda: [STEP])
    pins: list[dict[str, Any]] = field(
        default_factory=lambda: [{"name": "a", "fixed": True}, {"name": "b", "fixed": False}]
    )

    def app(self) -> web.Application:
        """Add the URLs."""
        app = super().app()
        app.router.add_get("/images", self._rows)
        app.router.add_get("/images/why", self._rows)
        app.router.add_post("/images/prune", self._prune)
        app.router.add_get("/images/pins", self._pins)
        app.router.add_post("/images/pins", self._pins)
        app.router.add_delete("/images/pins", self._unpin)
        return app

    async def _rows(self, _request: web.Request) -> web.Response:
        return web.json_response(self.rows)

    async def _prune(self, _request: web.Request) -> web.Response:
        return web.json_response(self.steps)

    async def _pins(self, _request: web.Request) -> web.Response:
        return web.json_response(self.pins)

    async def _unpin(self, _request: web.Request) -> web.Response:
        return web.Response(status=204)


@pytest.fixture
def command(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Command:
    """The command line, where no settings file lies about."""
    monkeypatch.chdir(tmp_path)
    return Command(tmp_path, capsys)


def test_list(command: Command) -> None:
    """Images in a table that is never cut in a file, all that is kept with --all, and as JSON."""
    service = Service()
    with running(command.state, service):
        assert command("images", "list") == 0
        lines = command.out.splitlines()
        assert lines[0].split() == ["GOES", "KIND", "SIZE", "OWN", "LAUNCHES", "IDLE", "NAME", "STAYS", "BECAUSE"]
        assert lines[1].split() == ["1", "image", "2.0", "GB", "3.0", "MB", "7", "2h00m", "binderlet/i-x:1"]
        assert len(lines) == 2
        assert command("images", "list", "--all") == 0
        assert "its build goes on" in command.out
        assert command("images", "list", "--all", "--json") == 0
        assert json.loads(command.out) == [ROW, LOG]
        service.rows = []
        assert command("images", "list") == 0
        assert command.out == "Nothing is kept.\n"


def test_why(command: Command) -> None:
    """What a decision rests on, in sentences and as JSON."""
    service = Service()
    with running(command.state, service):
        assert command("images", "why", "https://github.com/o/r") == 0
        assert "It may go: number 1 when room is needed." in command.out
        assert "Repository: https://github.com/o/r" in command.out
        assert "It stays: its build goes on." in command.out
        assert command("images", "why", "x", "--json") == 0
        assert json.loads(command.out) == [ROW, LOG]
    assert service.asked[0] == "GET /images/why?name=https%3A%2F%2Fgithub.com%2Fo%2Fr"


def test_explanations() -> None:
    """What frees nothing, and an owner over the share, is said."""
    assert "removing it frees nothing" in explain(ROW | {"rank": None, "repository": ""})
    assert "github.com/o has more than its share" in explain(ROW | {"owner_factor": 0.5})


def test_pins(command: Command) -> None:
    """Pins are made, listed and taken off."""
    service = Service()
    with running(command.state, service):
        assert command("images", "pin", "b") == 0
        assert command.out == "a (disk.pins)\nb\n"
        assert command("images", "pin", "--list", "--json") == 0
        assert json.loads(command.out) == service.pins
        assert command("images", "unpin", "b") == 0
        assert command.out == "b is no longer pinned.\n"
        assert command("images", "unpin", "b", "--json") == 0
        assert json.loads(command.out) == {"unpinned": "b"}
        service.pins = []
        assert command("images", "pin", "--list") == 0
        assert command.out == "Nothing is pinned.\n"
    assert command("images", "pin") == 2
    assert service.asked == [
        "POST /images/pins?name=b",
        "GET /images/pins",
        "DELETE /images/pins?name=b",
        "DELETE /images/pins?name=b",
        "GET /images/pins",
    ]


def test_prune(command: Command) -> None:
    """What goes is said, and how much that frees; with --dry-run nothing goes."""
    service = Service()
    with running(command.state, service):
        assert command("images", "prune", "--free", "10G", "--dry-run") == 0
        assert command.out == "Would remove a:1, b:1: it is worth least\n1.0 GB would be freed.\n"
        assert command("images", "prune") == 0
        assert command.out == "Removed a:1, b:1: it is worth least\n1.0 GB freed.\n"
        assert command("images", "prune", "--json") == 0
        assert json.loads(command.out) == [STEP]
        service.steps = []
        assert command("images", "prune") == 0
        assert command.out == "There is nothing to remove.\n"
    assert service.asked[:2] == [
        f"POST /images/prune?bytes={10 * GB}&dry_run=1",
        "POST /images/prune?bytes=0&dry_run=0",
    ]
    assert command("images", "prune", "--free", "much") == 2


def test_without_a_service(command: Command) -> None:
    """One sentence says that none runs, and how to start it."""
    assert command("images", "list") == 3
    assert "No service runs here." in command.err
    assert "binderlet up" in command.err


def test_on_a_terminal(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """On a terminal rows are as wide as it is."""
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("TERM", "dumb")
    images.print_table([ROW | {"keep": "because " * 20}])
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 100
    assert "binderlet/i-x:1" in lines[1]


@pytest.mark.parametrize(
    ("size", "text"), [(0, "0 bytes"), (2048, "2.0 kB"), (3 * 1024**2, "3.0 MB"), (1.5 * GB, "1.5 GB")]
)
def test_sizes(size: float, text: str) -> None:
    """Bytes are written for people."""
    assert bytes_text(size) == text
