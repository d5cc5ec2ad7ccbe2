"""Counted launches in SQLite."""

from __future__ import annotations

from pathlib import Path

import pytest

from binderlet.dashboard.store import BEAT, StatisticsStore
from binderlet.dashboard.tallies import DayCount, Tallies, Tally
from binderlet.errors import StoreUnavailable


def tally(launches: int, minute: int = 0, repository: str = "GitHub/o/r") -> Tally:
    """A day with launches of one repository in one minute."""
    made = Tally(launches)
    made.minutes[minute] = launches
    made.repositories[repository] = launches
    return made


def filled(path: Path) -> StatisticsStore:
    """A store with two days of two members."""
    store = StatisticsStore(path / "new" / "statistics.sqlite")
    days: Tallies = {(100, "one"): tally(5), (100, "two"): tally(2, 65, "Git/x"), (101, "two"): tally(1)}
    assert store.take("archive", "events-a.jsonl", "1", days, skipped=3) == 8
    return store


def test_a_file_is_taken_in(tmp_path: Path) -> None:
    """Days, minutes, hours and repositories come back, of all members or some."""
    store = filled(tmp_path)
    assert store.days(100, 100) == [DayCount(100, "one", "archive", 5, 0), DayCount(100, "two", "archive", 2, 0)]
    assert store.minutes(100, 101)[100][0] == 5
    assert store.minutes(100, 100)[100][65] == 2
    assert sum(store.minutes(100, 101, ["two"])[100]) == 2
    assert store.hours(100, 101)[100][:2] == [5, 2]
    assert store.hours(100, 101, ["two"])[100][:2] == [0, 2]
    assert store.repositories(100, 101) == {"GitHub/o/r": 6, "Git/x": 2}
    assert store.repositories(100, 101, ["two"]) == {"GitHub/o/r": 1, "Git/x": 2}
    assert store.extent() == (100, 101)
    assert store.first_days() == {"one": 100, "two": 100}
    assert store.versions("archive") == {"events-a.jsonl": "1"}
    assert store.sources() == [("archive", 1, 8, 3)]


def test_taking_in_again_replaces(tmp_path: Path) -> None:
    """A file that changed counts once, as it is now."""
    store = filled(tmp_path)
    store.take("archive", "events-a.jsonl", "2", {(100, "one"): tally(7)})
    assert store.days(100, 101) == [DayCount(100, "one", "archive", 7, 0)]
    assert store.versions("archive") == {"events-a.jsonl": "2"}


def test_of_two_sources_the_fuller_one_counts(tmp_path: Path) -> None:
    """A day that two archives have is not counted twice; the one that lacks launches does not count."""
    store = filled(tmp_path)
    store.take("own", "events-a.jsonl", "1", {(100, "one"): tally(6, 5), (101, "one"): tally(1)})
    assert {(row.day, row.member): row.launches for row in store.days(100, 101)} == {
        (100, "one"): 6,
        (100, "two"): 2,
        (101, "one"): 1,
        (101, "two"): 1,
    }
    assert store.minutes(100, 100)[100][5] == 6
    assert store.minutes(100, 100)[100][0] == 0
    assert store.forget("own") == 1
    assert store.days(100, 100)[0].launches == 5


def test_an_empty_store(tmp_path: Path) -> None:
    """Nothing is known of anything."""
    store = StatisticsStore(tmp_path / "statistics.sqlite")
    assert store.extent() is None
    assert store.days(1, 10**6) == []
    assert store.repositories(1, 10**6) == {}
    assert store.own(1, 10**6) == {}


def test_what_the_service_did(tmp_path: Path) -> None:
    """A day's sums come back as they were put, the last ones."""
    store = StatisticsStore(tmp_path / "statistics.sqlite")
    store.put_own({7: {"outcomes": {"success": 1}}, 8: {}})
    store.put_own({7: {"outcomes": {"success": 2}}})
    assert store.own(7, 7) == {7: {"outcomes": {"success": 2}}}
    assert store.own_days() == {7, 8}
    assert store.extent() == (7, 8)


def test_heartbeats(tmp_path: Path) -> None:
    """Whether the service ran is known for each slot, and whether it was well."""
    store = StatisticsStore(tmp_path / "statistics.sqlite")
    store.beat(BEAT * 10 + 1, ok=True)
    store.beat(BEAT * 11, ok=True)
    store.beat(BEAT * 11 + 9, ok=False)
    assert store.beats(0, BEAT * 12) == {10: True, 11: False}
    assert store.beats(0, BEAT * 11) == {10: True}


def test_held_open(tmp_path: Path) -> None:
    """While it is held open, calls work as before, and SQLite keeps its log."""
    store = StatisticsStore(tmp_path / "statistics.sqlite")
    held = store.hold()
    store.put_own({1: {}})
    assert (tmp_path / "statistics.sqlite-wal").exists()
    held.close()
    assert store.own_days() == {1}
    assert not (tmp_path / "statistics.sqlite-wal").exists()


def test_a_file_that_is_no_database(tmp_path: Path) -> None:
    """The error says what may be done about it."""
    path = tmp_path / "statistics.sqlite"
    path.write_text("this is no database, and never was one " * 100)
    with pytest.raises(StoreUnavailable, match="cannot be used") as raised:
        StatisticsStore(path).extent()
    assert "move it away" in raised.value.hint
