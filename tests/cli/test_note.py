"""``binderlet note``: what operators did."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from support.command import Command


@pytest.fixture
def command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Command:
    """The command line, with a state folder of its own."""
    return Command(tmp_path / "state", capsys)


def test_notes_are_kept_and_listed(command: Command) -> None:
    """A note is printed as it is kept, and listed later, the oldest first."""
    assert command("note", "disk replaced", "--minutes", "45", "--at", "2027-01-31T14:00") == 0
    assert command.out == "2027-01-31 14:00  work, 45 minutes: disk replaced\n"
    assert command("note", "DNS was wrong", "--incident", "--at", "2027-01-30", "--json") == 0
    assert json.loads(command.out)["kind"] == "incident"
    assert command("note", "--list") == 0
    assert command.out.splitlines() == [
        "2027-01-30 00:00  incident: DNS was wrong",
        "2027-01-31 14:00  work, 45 minutes: disk replaced",
    ]
    assert command("note", "--list", "--json") == 0
    assert [note["minutes"] for note in json.loads(command.out)] == [0, 45]


def test_now(command: Command) -> None:
    """Without a time it is now."""
    assert command("note", "now") == 0
    assert "work: now" in command.out


@pytest.mark.parametrize(
    ("asked", "code", "says"), [((), 2, "--list"), (("x", "--at", "yesterday"), 1, "yesterday")], ids=["none", "time"]
)
def test_what_is_wrong(command: Command, asked: tuple[str, ...], code: int, says: str) -> None:
    """A note needs a text, and a time that is one."""
    assert command("note", *asked) == code
    assert says in command.err
