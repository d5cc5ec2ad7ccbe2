"""Loads played event by event."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from binderlet.planner.load import Lengths, Load
from binderlet.planner.simulate import arrivals, simulate_cluster, simulate_fixed

EVEN = Load((3.0,) * 288, Lengths((600.0, 1800.0), (0.5, 0.5)))


def test_the_same_seed_plays_the_same() -> None:
    """A run is repeatable, another seed is another run."""
    assert simulate_fixed(EVEN, 8) == simulate_fixed(EVEN, 8)
    assert simulate_fixed(EVEN, 8) != simulate_fixed(EVEN, 8, seed=2)


def test_launches_come_as_often_as_they_should() -> None:
    """About as many come as the load says, in order, none where there are none."""
    played = list(arrivals(EVEN, random.Random(3), rounds=3))  # noqa: S311 - a test must be the same each time
    assert len(played) == pytest.approx(3 * 864, rel=0.1)
    assert [at for at, _ in played] == sorted(at for at, _ in played)
    assert {length for _, length in played} == {600, 1800}
    assert list(arrivals(Load((0.0,) * 5, EVEN.lengths), random.Random(3))) == []  # noqa: S311 - same


def test_one_place_is_a_queue() -> None:
    """With one place, sessions follow each other; who comes while it is taken waits until it is free."""
    played = simulate_fixed(Load((20.0,), Lengths((100.0,), (1.0,))), 1)
    assert played.most == 1
    assert played.waits[-1] > 100
    nothing = simulate_fixed(Load((0.0,), EVEN.lengths), 1)
    assert (nothing.launches, nothing.wait(0.95), nothing.mean) == (0, 0, 0)


def test_room_for_all_means_no_wait() -> None:
    """With a place for everyone nobody waits, and Little's law holds."""
    played = simulate_fixed(EVEN, 1000)
    assert played.wait(1.0) == 0
    assert played.mean == pytest.approx(3 / 300 * 1200, rel=0.1)


def test_a_cluster_grows_and_shrinks() -> None:
    """Machines come with the load and go after it; launches wait for one no longer than it takes."""
    load = Load((0.5,) * 48 + (40.0,) * 12 + (0.5,) * 228, Lengths((1200.0,), (1.0,)))
    played = simulate_cluster(load, 20, spare=2, lag=300.0, idle=600.0)
    assert 0 < played.waits[-1] <= 300
    peak = played.most / 20
    assert 1 < played.node_hours / played.hours < peak
    roomy = simulate_cluster(load, 20, spare=400, lag=300.0, idle=600.0, least=20)
    assert roomy.waits[-1] == 0
    assert roomy.node_hours / roomy.hours >= 20


@settings(deadline=None, max_examples=25)
@given(st.integers(1, 30), st.integers(0, 20), st.integers(1, 1000), st.floats(0.1, 30))
def test_a_cluster_serves_everyone_once(fit: int, spare: int, seed: int, rate: float) -> None:
    """Whatever the machines, all launches get their place, the same time in sessions as with places for all."""
    load = Load((rate,) * 40, EVEN.lengths)
    played = simulate_cluster(load, fit, spare=spare, lag=120.0, idle=300.0, seed=seed)
    free = simulate_fixed(load, 10**6, seed=seed)
    assert played.launches == free.launches
    assert played.mean == pytest.approx(free.mean)
    assert all(0 <= wait <= 120.001 for wait in played.waits)
