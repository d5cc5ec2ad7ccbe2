"""``binderlet stats``: archives of launches, counted and drawn."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from binderlet.app.statistics import PUBLIC
from binderlet.cli.stats import describe, tell
from binderlet.dashboard.importing import Progress
from binderlet.events.archive import write_lines
from support.archives import archive_server, event_line, write_archive
from support.command import Command

DAYS = {
    "2024-05-06": [event_line(spec="owner/repo/HEAD")] * 6 + [b"no launch\n"],
    "2024-05-07": [event_line("2024-05-07T10:00:00+00:00", origin="two.test")] * 2,
}


@pytest.fixture
def command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Command:
    """The command line, with a state folder of its own."""
    return Command(tmp_path / "state", capsys)


def test_import_and_show(command: Command, tmp_path: Path) -> None:
    """What is imported from a folder and over HTTP is shown, with the share of each member."""
    folder = write_archive(tmp_path / "archive", DAYS)
    assert command("stats", "import", str(folder)) == 0
    assert "2 files with 8 launches" in command.out
    assert "1 lines were no launches" in command.out
    with archive_server(folder) as server:
        assert command("stats", "import", server.url, "--json") == 0
    assert json.loads(command.out)["events"] == 8
    assert command("stats", "show") == 0
    assert "2024-05-06 to 2024-05-07" in command.out
    assert "75.0 %  one.test" in command.out
    assert "2024-05-07: two.test joined" in command.out
    assert "8  GitHub/owner/repo" in command.out
    assert command("stats", "show", "--from", "2024-05-07", "--json") == 0
    assert json.loads(command.out)["charts"][0]["series"][0]["name"] == "two.test"
    assert command("stats", "sources") == 0
    assert f"8 launches in     2 files  {folder}  (1 skipped)" in command.out
    assert command("stats", "sources", "--forget", str(folder)) == 0
    assert command("stats", "sources", "--forget", str(folder)) == 3
    assert "Nothing was imported" in command.err


def test_nothing_to_show(command: Command, tmp_path: Path) -> None:
    """An empty store says where launches come from; a folder without archives is an error."""
    assert command("stats", "show", "--store", str(tmp_path / "s.sqlite")) == 0
    assert "stats import" in command.err
    assert command("stats", "import", str(tmp_path)) == 3
    assert "no files events-" in command.err


@pytest.mark.timeout(60)
def test_save(command: Command, tmp_path: Path) -> None:
    """Every chart becomes a file of each form."""
    command("stats", "import", str(write_archive(tmp_path / "archive", DAYS)))
    out = tmp_path / "out"
    assert command("stats", "save", str(out), "--format", "csv", "--format", "json", "--format", "svg") == 0
    assert {path.name for path in out.iterdir()} >= {"launches.csv", "share.json", "hours.svg"}
    assert len(command.out.splitlines()) == len(list(out.iterdir()))
    assert command("stats", "save", str(out), "--format", "gif") == 2
    (tmp_path / "file").write_text("")
    assert command("stats", "save", str(tmp_path / "file" / "x"), "--format", "csv") == 3
    assert "cannot be written" in command.err


def test_publish(command: Command) -> None:
    """The public archive can be made by hand, too."""
    event = json.loads(event_line("2027-01-15T08:00:05.000000Z"))
    write_lines(command.state / "archive", [json.dumps({"id": "a", "event": event}).encode() + b"\n"])
    assert command("stats", "publish") == 0
    assert "1 launches are public" in command.out
    assert (command.state / PUBLIC / "events-2027-01-15.jsonl").exists()


def test_fresh(command: Command, tmp_path: Path) -> None:
    """An archive that is up to date passes; an old one, or one without a member, does not."""
    now = datetime.now(UTC) - timedelta(minutes=5)
    line = event_line(now.strftime("%Y-%m-%dT%H:%M:00+00:00"))
    folder = write_archive(tmp_path / "archive", {now.strftime("%Y-%m-%d"): [line]})
    assert command("stats", "fresh", str(folder), "--member", "one.test", state=False) == 0
    assert "launches of the last 2 days: 1" in command.out
    assert command("stats", "fresh", str(folder), "--member", "two.test", state=False) == 1
    assert "FAIL There are no launches of two.test." in command.out
    old = write_archive(tmp_path / "old", DAYS)
    assert command("stats", "fresh", str(old), state=False) == 1


def test_example(command: Command, tmp_path: Path) -> None:
    """An archive is made up, which can be imported."""
    out = tmp_path / "made-up"
    assert command("stats", "example", str(out), "--days", "3", "--per-day", "50", state=False) == 0
    assert "made-up launches" in command.out
    assert command("stats", "import", str(out)) == 0
    assert "3 files" in command.out
    assert command("stats", "example", str(out), "--from", "soon", state=False) == 1
    assert "soon" in command.err


def test_progress(capsys: pytest.CaptureFixture[str]) -> None:
    """A long import tells how far it is, now and then."""
    tell(Progress(100, 300, 0, 5000, 0, 1.0))
    tell(Progress(101, 300, 0, 5000, 0, 1.0))
    assert capsys.readouterr().err == "100 of 300 files, 5000 launches\n"
    assert describe(Progress(5, 5, 5, 0, 0, 0.1)) == "0 files with 0 launches, 5 had not changed"
