"""Waiting for a place, by formula."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from binderlet.planner.load import Load, concurrency, described, lognormal
from binderlet.planner.queueing import LONGEST_WAIT, erlang_c, fixed_tail, percentile, scaled_tail
from binderlet.planner.simulate import simulate_cluster, simulate_fixed

LENGTHS = lognormal(1200, 5400)


@pytest.mark.parametrize(
    ("places", "load", "chance"),
    [(1, 0.5, 0.5), (2, 1.0, 1 / 3), (10, 7.0, 0.2217), (5, 5.0, 1.0), (5, 9.0, 1.0), (5, 0.0, 0.0), (1000, 10.0, 0.0)],
)
def test_erlang(places: int, load: float, chance: float) -> None:
    """The chance to wait is Erlang's, as in the tables."""
    assert erlang_c(places, load) == pytest.approx(chance, abs=1e-4)


@given(st.integers(1, 300), st.floats(0, 300))
def test_more_places_never_make_it_worse(places: int, load: float) -> None:
    """The chance is one, and falls with each place."""
    assert 0 <= erlang_c(places + 1, load) <= erlang_c(places, load) + 1e-9 <= 1 + 1e-9


@pytest.mark.timeout(60)
@pytest.mark.parametrize("per_day", [500, 3000])
def test_the_formula_agrees_with_the_simulation(per_day: float) -> None:
    """The share of launches that wait is right to a few points, long waits to a factor of two and a half."""
    load = described(per_day, LENGTHS)
    sessions = concurrency(load)
    for full in (0.8, 0.9, 1.0, 1.1):
        places = round(max(sessions) * full)
        tail, played = fixed_tail(load, sessions, places), simulate_fixed(load, places, rounds=4)
        waited = sum(wait > 0 for wait in played.waits) / played.launches
        assert tail(0.0) == pytest.approx(waited, abs=0.08)
        assert played.mean == pytest.approx(sum(sessions) / len(sessions), rel=0.06)
        if played.wait(0.95) > 60:
            assert 1 / 2.5 < percentile(tail) / played.wait(0.95) < 2.5
    roomy = round(max(sessions) + 5 * math.sqrt(max(sessions)))
    assert percentile(fixed_tail(load, sessions, roomy), 0.99) == 0
    assert simulate_fixed(load, roomy).wait(0.99) == 0


@pytest.mark.timeout(60)
def test_a_clusters_formula_agrees_with_the_simulation() -> None:
    """With little room kept free, about as many launches wait for a machine as are played."""
    load = described(6000, LENGTHS)
    sessions = concurrency(load)
    for spare, fit in ((0, 8), (5, 30), (20, 70)):
        tail = scaled_tail(load, sessions, spare, fit, 240.0)
        played = simulate_cluster(load, fit, spare=spare, lag=240.0, idle=600.0)
        waited = sum(wait > 0 for wait in played.waits) / played.launches
        assert tail(0.0) == pytest.approx(waited, abs=0.04)
        assert max(played.waits) <= 240
    assert scaled_tail(load, sessions, 5, 30, 240.0)(240.0) == 0


def test_nobody_comes() -> None:
    """An empty load waits for nothing."""
    load = Load((0.0,) * 10, LENGTHS)
    assert percentile(fixed_tail(load, [0.0] * 10, 1)) == 0
    assert percentile(scaled_tail(load, [0.0] * 10, 1, 1, 10)) == 0


def test_far_too_many() -> None:
    """A wait beyond a day is a day."""
    load = Load((10_000.0,) * 288 * 7, LENGTHS)
    assert percentile(fixed_tail(load, concurrency(load), 1)) == LONGEST_WAIT


@given(st.floats(0.5, 0.99), st.floats(1, 5000))
def test_percentiles(share: float, mean: float) -> None:
    """The percentile of a plain exponential wait is the known one."""
    found = percentile(lambda wait: math.exp(-wait / mean), share)
    assert found == pytest.approx(-mean * math.log(1 - share), rel=0.01, abs=0.1)
