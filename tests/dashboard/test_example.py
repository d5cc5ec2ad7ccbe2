"""Example archives: made up, and always the same."""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path

import jsonschema

from binderlet.dashboard.example import MEMBERS, example_events, season, write_example
from binderlet.dashboard.reading import Reader

SCHEMA = json.loads((Path(__file__).parents[2] / "src/binderlet/events/launch.v6.json").read_text())
FIRST = date(2026, 1, 1)


def test_the_same_seed_makes_the_same_archive(tmp_path: Path) -> None:
    """Two runs give the same bytes; another seed gives others."""
    assert list(example_events(FIRST, 2, 100)) == list(example_events(FIRST, 2, 100))
    assert list(example_events(FIRST, 2, 100)) != list(example_events(FIRST, 2, 100, seed=2))
    assert write_example(tmp_path, FIRST, 2, 100) == sum(len(lines) for _, lines in example_events(FIRST, 2, 100))


def test_an_example_has_the_form_of_the_archive(tmp_path: Path) -> None:
    """Events are version 6 but for the time, which is rounded; the index counts them; times are in order."""
    total = write_example(tmp_path, FIRST, 30, 200)
    lines = [line for path in sorted(tmp_path.glob("events-*")) for line in path.read_bytes().splitlines()]
    index = [json.loads(line) for line in (tmp_path / "index.jsonl").read_text().splitlines()]
    assert sum(int(entry["count"]) for entry in index) == len(lines) == total
    events = [json.loads(line) for line in lines]
    assert [event["timestamp"] for event in events] == sorted(event["timestamp"] for event in events)
    event = events[0]
    jsonschema.validate(event | {"timestamp": event["timestamp"][:19] + ".000000Z"}, SCHEMA)
    reader = Reader()
    reader.read([line + b"\n" for line in lines])
    assert reader.skipped == 0


def test_a_member_joins() -> None:
    """Before its day a member serves nothing, then more each day until it has its weight."""
    (member,) = [member for member in MEMBERS if member.joins]
    assert member.weight_on(member.joins - 1) == 0
    assert 0 < member.weight_on(member.joins) < member.weight_on(member.joins + 10) == member.weight


def test_seasons() -> None:
    """Weekends and the turn of the year are quiet."""
    assert season(date(2026, 5, 9)) < season(date(2026, 5, 6))
    assert season(date(2026, 12, 24)) < season(date(2026, 12, 10))
