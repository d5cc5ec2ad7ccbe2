"""``binderlet images restore``."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from binderlet.cli import images_restore
from support.admin_service import AdminService, running
from support.command import Command

ONE = {"name": "binderlet/i-a:1", "size": 120_000_000, "problem": ""}
BAD = {"name": "binderlet/i-b:1", "size": 5, "problem": "the registry does not have it any more"}


@dataclass
class Service(AdminService):
    """Brings back one image with each question."""

    images: list[dict[str, Any]] = field(default_factory=lambda: [ONE, BAD])
    done: int = -1

    def app(self) -> web.Application:
        """Add the URLs."""
        app = super().app()
        app.router.add_get("/images/restore", self._progress)
        app.router.add_post("/images/restore", self._progress)
        return app

    async def _progress(self, _: web.Request) -> web.Response:
        self.done = min(self.done + 1, len(self.images))
        done = self.images[: self.done]
        return web.json_response({"running": self.done < len(self.images), "done": done})


@pytest.fixture
def command(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Command:
    """The command line, where no settings file lies about."""
    monkeypatch.chdir(tmp_path)
    return Command(tmp_path, capsys)


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ask without pauses."""
    monkeypatch.setattr(images_restore, "EVERY", 0)


def test_told_as_they_come(command: Command) -> None:
    """Each image is told; one that did not come makes the command fail."""
    service = Service()
    with running(command.state, service):
        assert command("images", "restore", "--count", "5", "--room", "1G") == 1
        assert command.out == (
            "binderlet/i-a:1: 120 MB\nbinderlet/i-b:1: not brought back: the registry does not have it any more\n"
        )
    assert service.asked == [f"POST /images/restore?count=5&bytes={1024**3}", *["GET /images/restore"] * 2]


def test_json(command: Command) -> None:
    """The same for programs."""
    service = Service(images=[ONE])
    with running(command.state, service):
        assert command("images", "restore", "--json") == 0
        assert json.loads(command.out) == [ONE]


def test_nothing(command: Command) -> None:
    """A machine that has everything is told so; a size that is none is refused."""
    with running(command.state, Service(images=[])):
        assert command("images", "restore") == 0
        assert command.out == "There is nothing to bring back.\n"
    assert command("images", "restore", "--room", "much") == 2
