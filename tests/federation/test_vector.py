"""Choosing for many at once is choosing for each."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from binderlet.errors import MissingProgram
from binderlet.federation import pick
from binderlet.federation.config import Spread
from binderlet.federation.report import Room
from binderlet.federation.vector import Draws, busy_members, load_numpy, room_factors, start_factors
from binderlet.federation.weights import room_factor, start_factor

KEYS = [b"/build/gh/owner/repo%d" % number for number in range(60)]
MEMBERS = 60


def entries(weights: list[float]) -> list[pick.Entry]:
    """Members of these weights."""
    return [pick.entry(f"m{index}", f"https://m{index}.test", weight) for index, weight in enumerate(weights)]


@pytest.fixture(scope="module")
def draws() -> Draws:
    """Draws of many equal members."""
    return Draws(KEYS, entries([1.0] * MEMBERS))


@given(st.lists(st.sampled_from([0.0, 0.001, 0.3, 1.0]), min_size=MEMBERS, max_size=MEMBERS))
@settings(max_examples=30, deadline=None)
def test_choose(draws: Draws, factors: list[float]) -> None:
    """Whatever lessens members, each repository goes where ``pick.choose`` sends it."""
    if not any(factors):
        factors[0] = 1.0
    open_ones = [one for one in entries(factors) if one.weight > 0]
    wanted = [open_ones[pick.choose(key, open_ones)].name for key in KEYS]
    found = draws.choose(np.arange(len(KEYS)), np.array(factors))
    assert [f"m{index}" for index in found] == wanted


@given(st.data())
@settings(max_examples=30, deadline=None)
def test_prefer(data: st.DataObject) -> None:
    """Who has the image is preferred as ``pick.prefer`` does."""
    members = entries([1.0, 2.0, 3.0, 4.0])
    few = Draws(KEYS[:10], members)
    having = np.array(data.draw(st.lists(st.lists(st.booleans(), min_size=4, max_size=4), min_size=10, max_size=10)))
    busy = np.array(data.draw(st.lists(st.booleans(), min_size=4, max_size=4)))
    rows = np.arange(10)
    weights = np.array([one.weight for one in members])
    homes = few.choose(rows, weights)
    found = few.prefer(rows, homes, weights, having, busy)
    for row in rows:
        holders = [int(index) for index in np.flatnonzero(having[row])]
        full = {int(index) for index in np.flatnonzero(busy)}
        # Home is kept though it is busy: it has the image, which is all that is asked for.
        wanted = (
            int(homes[row])
            if having[row, homes[row]]
            else pick.prefer(KEYS[row], members, int(homes[row]), holders, full)
        )
        assert found[row] == wanted


@given(st.lists(st.booleans(), min_size=4, max_size=4))
@settings(deadline=None)
def test_spill(flags: list[bool]) -> None:
    """What is a busy member's goes where ``pick.spill`` sends it."""
    members = entries([1.0, 2.0, 3.0, 4.0])
    few, busy = Draws(KEYS, members), {index for index, flag in enumerate(flags) if flag}
    rows, weights = np.arange(len(KEYS)), np.array([one.weight for one in members])
    homes = few.choose(rows, weights)
    found = few.spill(rows, homes, weights, np.array(flags))
    assert list(found) == [pick.spill(key, members, int(homes[row]), busy) for row, key in enumerate(KEYS)]


def test_everyone_has_it(draws: Draws) -> None:
    """Where home has the image, or nobody's home is busy, nothing moves."""
    rows, weights = np.arange(len(KEYS)), np.ones(MEMBERS)
    homes = draws.choose(rows, weights)
    having, nobody = np.ones((len(KEYS), MEMBERS), dtype=bool), np.zeros(MEMBERS, dtype=bool)
    assert list(draws.prefer(rows, homes, weights, having, nobody)) == list(homes)
    assert list(draws.spill(rows, homes, weights, nobody)) == list(homes)


@given(st.integers(0, 300), st.integers(0, 300), st.integers(0, 20), st.floats(0, 1))
@settings(deadline=None)
def test_room(quota: int, total: int, reserve: int, ease: float) -> None:
    """Room counts as ``weights.room_factor`` counts it."""
    spread = Spread(reserve=reserve, ease=ease)
    (found,) = room_factors(np.array([quota]), np.array([total]), spread)
    assert found == pytest.approx(room_factor(Room(quota, total), spread))


@given(st.floats(0, 2000), st.sampled_from([0.0, 1.0, 600.0]))
@settings(deadline=None)
def test_slow_start(now: float, slow: float) -> None:
    """Slow start is as ``weights.start_factor`` has it."""
    (found, never) = start_factors(np.array([0.0, -np.inf]), now, slow)
    assert found == pytest.approx(start_factor(0.0, now, slow))
    assert never == 1


@given(st.lists(st.tuples(st.floats(0, 100), st.floats(0.1, 10)), min_size=1, max_size=6), st.floats(0, 2))
@settings(deadline=None)
def test_busy(pairs: list[tuple[float, float]], bound: float) -> None:
    """A member is busy when ``pick.busy`` says so."""
    counts, weights = [count for count, _ in pairs], [weight for _, weight in pairs]
    found = busy_members(np.array(counts), np.array(weights), bound)
    assert set(map(int, np.flatnonzero(found))) == pick.busy(counts, entries(weights), bound)


def test_without_numpy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without numpy it is said how to get it."""
    monkeypatch.setitem(sys.modules, "numpy", None)
    with pytest.raises(MissingProgram, match="needs numpy"):
        load_numpy()
