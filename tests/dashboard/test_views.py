"""The charts of a range of days."""

from __future__ import annotations

import io
import pickle
import runpy
import sys
import warnings
from datetime import date
from pathlib import Path

import pytest

from binderlet.dashboard.store import StatisticsStore
from binderlet.dashboard.tallies import Tally
from binderlet.dashboard.views import Range, charts_apart, make_charts, read_range
from binderlet.errors import BadRange, StoreUnavailable

TODAY = date(2027, 1, 20).toordinal()
KNOWN = (date(2026, 1, 1).toordinal(), date(2027, 1, 15).toordinal())


def day(text: str) -> int:
    """The number of a day."""
    return date.fromisoformat(text).toordinal()


@pytest.mark.parametrize(
    ("begins", "ends", "extent", "shown"),
    [
        ("", "", KNOWN, ("2026-10-18", "2027-01-15")),
        ("2026-02-01", "", KNOWN, ("2026-02-01", "2027-01-15")),
        ("", "2026-02-10", KNOWN, ("2026-01-01", "2026-02-10")),
        ("2026-02-01", "2026-02-01", KNOWN, ("2026-02-01", "2026-02-01")),
        ("0001-01-01", "9999-12-31", KNOWN, ("2026-01-01", "2027-01-20")),
        ("", "", None, ("2027-01-20", "2027-01-20")),
        ("2030-01-01", "2030-01-02", KNOWN, ("2030-01-01", "2030-01-01")),
    ],
)
def test_ranges(begins: str, ends: str, extent: tuple[int, int] | None, shown: tuple[str, str]) -> None:
    """A range is what is asked for, cut to what there can be anything of."""
    assert read_range(begins, ends, extent, TODAY) == Range(day(shown[0]), day(shown[1]))


@pytest.mark.parametrize(("begins", "ends"), [("yesterday", ""), ("", "2027-02-30"), ("2027-01-02", "2027-01-01")])
def test_what_is_no_range(begins: str, ends: str) -> None:
    """Words and ranges that end before they begin are told."""
    with pytest.raises(BadRange):
        read_range(begins, ends, KNOWN, TODAY)


def test_a_range_in_words() -> None:
    """It is written with its days, the last one included."""
    assert str(Range(day("2027-01-01"), day("2027-01-03"))) == "2027-01-01 to 2027-01-03"
    assert Range(1, 3).days == 3


@pytest.fixture
def store(tmp_path: Path) -> StatisticsStore:
    """One day of launches."""
    made = StatisticsStore(tmp_path / "statistics.sqlite")
    tally = Tally(5)
    tally.minutes[600] = 5
    tally.repositories["GitHub/o/r"] = 5
    made.take("s", "f", "1", {(TODAY, "one"): tally})
    return made


def test_charts(store: StatisticsStore) -> None:
    """Charts that have something to show are made."""
    charts = make_charts(store, Range(TODAY, TODAY), 5)
    assert [chart.id for chart in charts] == ["launches", "share", "hours", "repositories"]
    assert make_charts(store, Range(1, 2), 5) == []


@pytest.mark.timeout(60)
def test_in_a_process_of_its_own(store: StatisticsStore, tmp_path: Path) -> None:
    """The service counts elsewhere, and gets the same charts, or the reason why not."""
    assert charts_apart(store.path, Range(TODAY, TODAY), 5) == make_charts(store, Range(TODAY, TODAY), 5)
    (tmp_path / "damaged").write_text("no database " * 1000)
    with pytest.raises(StoreUnavailable, match="not a database"):
        charts_apart(tmp_path / "damaged", Range(TODAY, TODAY), 5)


def test_the_process(store: StatisticsStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """It writes charts on standard output."""
    out = io.BytesIO()
    monkeypatch.setattr(sys, "argv", ["views", str(store.path), str(TODAY), str(TODAY), "5"])
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(out))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # runpy: the module was imported before
        runpy.run_module("binderlet.dashboard.views", run_name="__main__")
    assert len(pickle.loads(out.getvalue())) == 4  # noqa: S301 - our own
