"""``binderlet report``: one page about a time of service."""

from __future__ import annotations

from pathlib import Path

import pytest

from binderlet.dashboard.own import SLOTS, bucket
from binderlet.dashboard.store import BEAT, StatisticsStore
from binderlet.dashboard.tallies import start_of
from support.archives import event_line, write_archive
from support.command import Command

DAYS = {
    "2024-05-06": [event_line()] * 6,
    "2024-05-07": [event_line("2024-05-07T10:00:00+00:00", origin="two.test")] * 14,
}
pytestmark = pytest.mark.timeout(60)


@pytest.fixture
def command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Command:
    """The command line, with a state folder of its own."""
    return Command(tmp_path / "state", capsys)


def test_a_report(command: Command, tmp_path: Path) -> None:
    """What archives, the service and its operators know is on one page, in two forms, with pictures."""
    command("stats", "import", str(write_archive(tmp_path / "archive", DAYS)))
    store = StatisticsStore(command.state / "statistics.sqlite")
    first, last = store.extent() or (0, 0)
    store.put_own(
        {
            first: {
                "outcomes": {"success": 14},
                "codes": {},
                "latency": {"ready": {bucket(1): 14}, "built": {}},
                "sessions": [3] * SLOTS,
                "session_seconds": 36000,
                "lengths": {},
            }
        }
    )
    for slot in range(576):
        if not 100 <= slot < 112:
            store.beat(start_of(first) + slot * BEAT, ok=True)
    command("note", "changed the disk", "--minutes", "30", "--at", "2024-05-06T12:00+00:00")
    out = tmp_path / "out" / "evaluation"
    assert command("report", "--member", "two.test", "--cost", "350", "--out", str(out)) == 0
    text = out.with_suffix(".md").read_text()
    assert "two.test served 14 launches in 2 days, 7 a day, 70.0 % of the 20 launches of the federation." in text
    assert "97.92 % of the time; 1 times it was not" in text
    assert "2024-05-06 08:20 UTC: 60 minutes not running" in text
    assert "changed the disk (30 minutes)" in text
    assert "EUR 1.64 for a launch." in text
    assert "EUR 2.30 for an hour of a session." in text
    assert "8 launches came in hours with more of them than the others together ever served in one" in text
    assert "](evaluation-launches.svg)" in text
    assert (tmp_path / "out" / "evaluation-launches.svg").exists()
    assert "data:image/svg+xml" in out.with_suffix(".html").read_text()
    assert len(command.out.splitlines()) == len(list(out.parent.iterdir()))
    assert last == first + 1


def test_whose_report(command: Command, tmp_path: Path) -> None:
    """With several members one must be named; a single one is the one; of nothing there is no report."""
    out = ("--out", str(tmp_path / "r"), "--no-pictures")
    assert command("report", *out) == 1
    assert "Nothing is known" in command.err
    command("stats", "import", str(write_archive(tmp_path / "archive", DAYS)))
    assert command("report", *out) == 1
    assert "one.test, two.test" in command.err
    assert command("report", "--to", "2024-05-06", *out) == 0
    assert "# one.test, 2024-05-06" in (tmp_path / "r.md").read_text()
    assert command("report", "--set", "archive.origin=two.test", *out) == 0
    assert "# two.test" in (tmp_path / "r.md").read_text()


def test_a_place_that_cannot_be_written(command: Command, tmp_path: Path) -> None:
    """The error names the file."""
    command("stats", "import", str(write_archive(tmp_path / "archive", DAYS)))
    (tmp_path / "file").write_text("")
    assert command("report", "--member", "one.test", "--no-pictures", "--out", str(tmp_path / "file" / "r")) == 3
    assert "cannot be written" in command.err
