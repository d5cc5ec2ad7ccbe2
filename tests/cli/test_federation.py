"""``binderlet federation``."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from aiohttp import web

from binderlet.cli.federation import announce
from support.admin_service import AdminService, running
from support.command import Command
from support.members import FakeMember

pytestmark = pytest.mark.timeout(90)

CHECK = "[check]\ntimeout = 5\n"


class Service(AdminService):
    """Also takes what its operator wants of redirectors."""

    def app(self) -> web.Application:
        """Add the URL."""
        app = super().app()
        app.router.add_post("/federation", self._wish)
        return app

    async def _wish(self, request: web.Request) -> web.Response:
        query = request.query
        return web.json_response({"draining": query.get("draining") == "true", "share": float(query.get("share", 1))})


@pytest.fixture
def command(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Command:
    """The command line, where no settings file lies about."""
    monkeypatch.chdir(tmp_path)
    return Command(tmp_path, capsys)


@pytest.fixture
def member() -> Iterator[FakeMember]:
    """One member."""
    with FakeMember("m") as found:
        yield found


@pytest.fixture
def file(tmp_path: Path, member: FakeMember) -> Path:
    """A federation of one."""
    path = tmp_path / "federation.toml"
    path.write_text(f'{CHECK}[members.m]\nurl = "{member.base}"\nprime = true\nweight = 3\n')
    return path


def test_check(command: Command, file: Path, member: FakeMember) -> None:
    """Every member is asked; one that may get nothing gives exit code 1."""
    assert command("federation", "check", "-f", str(file), "--offline", state=False) == 0
    assert "1 members, pages from m" in command.out
    assert member.asked == []
    assert command("federation", "check", "-f", str(file), state=False) == 0
    assert command.out == "m: up, weight 3 of 3, prime\n"
    member.state.told = {"draining": True}
    assert command("federation", "check", "-f", str(file), "--json", state=False) == 1
    assert json.loads(command.out)["members"][0]["reason"] == "draining"


def test_drain_and_ramp_of_a_member(command: Command) -> None:
    """The running service is told, and says what redirectors will know."""
    with running(command.state, Service()) as service:
        assert command("federation", "drain") == 0
        assert "asks for no new launches" in command.out
        assert command("federation", "drain", "--off") == 0
        assert command("federation", "ramp", "0.25") == 0
        assert "asks for 25% of its weight" in command.out
    assert service.asked == [f"POST /federation?{query}" for query in ("draining=true", "draining=false", "share=0.25")]


def test_drain_and_ramp_in_the_file(command: Command, file: Path) -> None:
    """The federation's file is changed."""
    file.write_text(file.read_text() + '[members.n]\nurl = "https://n.test"\n')
    assert command("federation", "drain", "n", "-f", str(file)) == 0
    assert "drain = true" in file.read_text()
    assert command("federation", "drain", "n", "--off", "-f", str(file)) == 0
    assert "drain" not in file.read_text()
    assert command("federation", "ramp", "--member", "n", "--start", "2026-03-01", "-f", str(file)) == 0
    assert 'ramp_start = "2026-03-01"' in file.read_text()
    assert command("federation", "drain", "x", "-f", str(file)) == 2


def test_join_with_nothing_to_mend(command: Command, member: FakeMember, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where nothing is missing the exit code is 0."""
    monkeypatch.setattr("binderlet.federation.join.evaluate", lambda _seen: [])
    assert command("federation", "join", member.base, "--url", member.base) == 0
    assert "Ready to join." in command.out


def test_join(command: Command, member: FakeMember) -> None:
    """What is missing is said with its mend, and the entry is printed; the exit code is 1."""
    arguments = ("federation", "join", member.base, "--url", member.base, "--name", "m")
    assert command(*arguments) == 1
    assert "FAIL quota: /health has no 'Pod quota' with a limit" in command.out
    assert "mend: Set limits.sessions" in command.out
    assert '[members."m"]' in command.out
    assert command(*arguments, "--json") == 1
    assert json.loads(command.out)["entry"]["m"]["url"] == member.base


def test_serve(file: Path) -> None:
    """The redirector says where it listens, and ends at SIGTERM."""
    command = [sys.executable, "-m", "binderlet.cli", "federation", "serve", "-f", str(file), "--port", "0"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    said = ""
    while "listens on port" not in said:
        line = process.stderr.readline()
        assert line, said
        said += line
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 0
    process.stderr.close()


def test_serve_with_a_wrong_file(command: Command) -> None:
    """A file that is not there ends it with a sentence."""
    assert command("federation", "serve", "-f", "none.toml", state=False) == 2
    assert "none.toml: cannot be read" in command.err


def test_simulate(command: Command, file: Path) -> None:
    """A simulation says what would be lost, for a file or for made-up members."""
    short = ("--days", "0.1", "--repositories", "50")
    assert command("federation", "simulate", *short, state=False) == 0
    assert command.out.startswith("3 members, 0.1 days")
    assert command("federation", "simulate", *short, "-f", str(file), "--json", state=False) == 0
    assert json.loads(command.out)["members"] == 1


def test_progress_and_announcement(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a terminal the simulation draws how far it is; a redirector says who gets launches."""
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    assert command("federation", "simulate", "--days", "0.1", "--repositories", "50", state=False) == 0
    assert "  0%" in command.err

    class Redirector:
        def active_hosts(self) -> list[str]:
            """Give two."""
            return ["a", "b"]

    announce(SimpleNamespace(port=1, redirector=Redirector()))  # type: ignore[arg-type] # all that is asked of it
