"""What drain and ramp write."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from aiohttp import web

from binderlet.cli.federation_file import change_file, drain_values, ramp_values, wish
from binderlet.config import Settings
from binderlet.errors import ConfigError, ServiceUnavailable
from support.admin_service import AdminService, running
from support.federation import MYBINDER


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """A file of mybinder.org's kind."""
    path = tmp_path / "config.json"
    path.write_text(json.dumps(MYBINDER, indent=2))
    path.chmod(0o640)
    return path


def weight(config: Path) -> float:
    """A member's weight in it."""
    return float(json.loads(config.read_text())["hosts"]["bids-ovh"]["weight"])


def test_drain_in_json(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A drained member has weight 0, which every redirector understands, and gets its own back; twice is no harm."""
    for _ in range(2):
        change_file(config, "bids-ovh", drain_values(config, "bids-ovh", off=False))
        assert weight(config) == 0
    for _ in range(2):
        change_file(config, "bids-ovh", drain_values(config, "bids-ovh", off=True))
        assert weight(config) == 50
    assert config.stat().st_mode & 0o777 == 0o640
    assert json.loads(config.read_text()) == MYBINDER
    assert "bids-ovh is changed" in capsys.readouterr().out


def test_ramp_in_json(config: Path) -> None:
    """That kind of file has no calendar: the weight is set."""
    assert ramp_values(config, 0.1, 50, "", 7) == {"weight": 5}
    with pytest.raises(ConfigError, match="no calendar"):
        ramp_values(config, 0.1, None, "", 7)


def test_ramp_in_toml(tmp_path: Path) -> None:
    """The calendar is written, with today where no day was given."""
    found = ramp_values(tmp_path / "f.toml", 1.0, None, "", 3)
    assert (found["ramp_days"], found["ramp_first"], len(str(found["ramp_start"]))) == (3, 0.1, 10)
    assert ramp_values(tmp_path / "f.toml", 0.3, 20, "2026-03-01", 3) == {
        "ramp_start": "2026-03-01",
        "ramp_days": 3,
        "ramp_first": 0.3,
        "weight": 20,
    }


def test_a_running_member(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What the service says it will tell redirectors is printed."""

    class Service(AdminService):
        def app(self) -> web.Application:
            """Add the URL."""
            app = super().app()
            app.router.add_post("/federation", self._wish)
            return app

        async def _wish(self, request: web.Request) -> web.Response:
            return web.json_response({"draining": "draining" in request.query, "share": 0.5})

    with running(tmp_path, Service()):
        wish(Settings.model_validate({"paths": {"state": tmp_path}}), "draining=true")
        wish(Settings.model_validate({"paths": {"state": tmp_path}}), "share=0.5")
    assert capsys.readouterr().out.splitlines() == [
        "This member asks for no new launches; redirectors know by their next probe.",
        "This member asks for 50% of its weight; redirectors know by their next probe.",
    ]
    assert drain_values(tmp_path / "f.toml", "m", off=True) == {"drain": None}
    assert drain_values(tmp_path / "f.toml", "m", off=False) == {"drain": True}


def test_what_cannot_be(config: Path, tmp_path: Path) -> None:
    """Without a name, without a file, without a service: a sentence."""
    with pytest.raises(ConfigError, match="which member"):
        change_file(config, "", {})
    with pytest.raises(ConfigError, match="cannot be read"):
        change_file(tmp_path / "none.toml", "x", {})
    with pytest.raises(ServiceUnavailable):
        wish(Settings.model_validate({"paths": {"state": tmp_path}}), "share=1")


def test_a_change_that_makes_no_sense(config: Path) -> None:
    """The file is read as a redirector would before it is written."""
    before = config.read_text()
    with pytest.raises(ConfigError):
        change_file(config, "bids-ovh", {"weight": -1})
    assert config.read_text() == before
