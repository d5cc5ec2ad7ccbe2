"""Loads: arrivals, lengths, and sessions at once."""

from __future__ import annotations

import math
from datetime import date

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from binderlet.planner.load import (
    MAX_AGE,
    SLOTS_PER_DAY,
    Lengths,
    Load,
    concurrency,
    described,
    lognormal,
    measured,
    recorded,
)

TEN_MINUTES = Lengths((600.0,), (1.0,))


def test_lognormal_lengths() -> None:
    """Median and 90th percentile are those that were asked for; nobody stays longer than allowed."""
    lengths = lognormal(1200, 5400)
    assert lengths.quantile(0.5) == pytest.approx(1200, rel=0.02)
    assert lengths.quantile(0.9) == pytest.approx(5400, rel=0.03)
    assert lengths.longest == MAX_AGE
    assert lengths.survival(MAX_AGE) == 0
    assert lengths.survival(0) == 1
    assert lognormal(600, 600).mean == pytest.approx(600, rel=0.001)
    assert lengths.scaled(2).mean == pytest.approx(2 * lengths.mean)


def test_measured_lengths() -> None:
    """Counts become shares."""
    lengths = measured([(10.0, 1), (30.0, 3)])
    assert (lengths.shares, lengths.mean) == ((0.25, 0.75), 25)
    assert (lengths.survival(9), lengths.survival(10), lengths.survival(30)) == (1, 0.75, 0)
    assert (lengths.quantile(0.25), lengths.quantile(0.26), lengths.quantile(1)) == (10, 30, 30)


def test_a_described_week() -> None:
    """A workday has the launches that were asked for, a weekend day fewer, the busiest hour is the afternoon's."""
    load = described(1000, TEN_MINUTES, weekend=0.5)
    days = [sum(load.arrivals[start : start + SLOTS_PER_DAY]) for start in range(0, 7 * SLOTS_PER_DAY, SLOTS_PER_DAY)]
    assert days == pytest.approx([1000] * 5 + [500] * 2)
    assert load.per_day == pytest.approx(6000 / 7)
    assert load.per_month == pytest.approx(6000 / 7 * 365.25 / 12)
    assert load.arrivals.index(max(load.arrivals)) == 14 * 12
    assert load.scaled(3).per_day == pytest.approx(18000 / 7)


def test_a_recorded_load() -> None:
    """Launches per minute become launches per slot, and a day without any is there too."""
    day = date(2027, 1, 15).toordinal()
    minutes = [0] * 1440
    minutes[4], minutes[5], minutes[1439] = 1, 2, 3
    load = recorded({day: minutes, day + 2: minutes}, TEN_MINUTES)
    assert len(load.arrivals) == 3 * SLOTS_PER_DAY
    assert (load.arrivals[0], load.arrivals[1], load.arrivals[SLOTS_PER_DAY - 1]) == (1, 2, 3)
    assert sum(load.arrivals) == 12


def test_an_even_load_is_littles_law() -> None:
    """Where launches come evenly, sessions at once are launches a second times their length."""
    for lengths in (TEN_MINUTES, lognormal(1200, 5400), Lengths((1.0,), (1.0,))):
        load = Load((5.0,) * SLOTS_PER_DAY, lengths)
        assert concurrency(load) == pytest.approx([5 / 300 * lengths.mean] * SLOTS_PER_DAY, rel=0.02, abs=0.02)


def test_a_burst_is_gone_after_its_sessions() -> None:
    """Sessions of a burst are there for as long as they stay, and no longer."""
    arrivals = [0.0] * SLOTS_PER_DAY
    arrivals[10] = 100.0
    sessions = concurrency(Load(tuple(arrivals), TEN_MINUTES))
    assert sessions[9:13] == pytest.approx([0, 100, 100, 0])


@settings(deadline=None, max_examples=30)
@given(
    st.lists(st.floats(0, 50), min_size=30, max_size=60),
    st.lists(st.floats(60, 5000), min_size=1, max_size=5),
)
def test_time_in_sessions_is_kept(arrivals: list[float], seconds: list[float]) -> None:
    """All sessions together take as much time as launches times length, wherever it lies."""
    lengths = Lengths(tuple(sorted(seconds)), (1 / len(seconds),) * len(seconds))
    sessions = concurrency(Load(tuple(arrivals), lengths))
    kept = sum(arrivals) * lengths.mean
    assert sum(sessions) * 300 == pytest.approx(kept, rel=0.15, abs=0.2 * sum(arrivals) * 300 + 1)
    assert all(one >= 0 and math.isfinite(one) for one in sessions)
