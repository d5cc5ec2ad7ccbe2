"""Choosing: exact shares, and nothing moves that need not."""

from __future__ import annotations

import math
from hashlib import blake2b

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from binderlet.federation.pick import Entry, busy, choose, choose_evenly, digest, draw, entry, key_of, prefer, spill


def entries(*weights: float) -> list[Entry]:
    """Members m0, m1, ... with these weights."""
    return [entry(f"m{index}", f"https://m{index}.test", weight) for index, weight in enumerate(weights)]


def keys(count: int) -> list[bytes]:
    """That many repositories."""
    return [b"/build/gh/owner/repo%d" % number for number in range(count)]


@pytest.mark.parametrize(
    ("path", "key"),
    [
        (b"/build/gh/Owner/Repo/HEAD", b"/build/gh/owner/repo"),
        (b"/build/gh/owner/repo/feature/x", b"/build/gh/owner/repo"),
        (b"/build/gh/owner/repo/HEAD/", b"/build/gh/owner/repo"),
        (b"/build/gh/owner/repo", b"/build/gh/owner"),
        (b"/build/git/https%3A%2F%2Fx/HEAD", b"/build/git/https%3a%2f%2fx/head"),
        (b"/build/zenodo/10.5281/zenodo.1/", b"/build/zenodo/10.5281/zenodo.1"),
    ],
)
def test_key(path: bytes, key: bytes) -> None:
    """All refs of a GitHub repository have one key; other specs are taken whole, letters of either case alike."""
    assert key_of(path) == key


def test_as_todays_redirector() -> None:
    """The choice is that of mybinder.org's redirector: largest weight / -ln(hash of key-url)."""
    members = entries(50, 20, 30)

    def theirs(key: bytes) -> int:
        scores = []
        for one in members:
            number = int.from_bytes(blake2b(key + one.suffix, digest_size=8).digest(), "big")
            scores.append(one.weight * (1.0 / -math.log(number / 0xFFFFFFFFFFFFFFFF)))
        return scores.index(max(scores))

    assert [choose(key, members) for key in keys(500)] == [theirs(key) for key in keys(500)]
    assert members[0].suffix == b"-https://m0.test"


def test_shares_are_exact() -> None:
    """Of many repositories each member gets its part of the weights."""
    members = entries(70, 20, 10)
    found = [choose(key, members) for key in keys(20_000)]
    for index, share in enumerate((0.7, 0.2, 0.1)):
        assert found.count(index) / len(found) == pytest.approx(share, abs=0.015)


@given(st.lists(st.floats(0.01, 100), min_size=2, max_size=6), st.integers(0, 5), st.floats(0.01, 1))
@settings(deadline=None)
def test_less_weight_moves_only_from_that_member(weights: list[float], which: int, factor: float) -> None:
    """When a member gets less, launches leave it, and no other member loses any."""
    which %= len(weights)
    before = entries(*weights)
    after = entries(*(weight * (factor if index == which else 1) for index, weight in enumerate(weights)))
    for key in keys(40):
        old, new = choose(key, before), choose(key, after)
        assert old in {new, which}


@given(st.binary(min_size=1, max_size=40))
@settings(deadline=None)
def test_a_draw_is_positive(key: bytes) -> None:
    """A draw can be divided by."""
    assert draw(key, b"-x") > 0


@pytest.mark.parametrize(("u", "index"), [(0.0, 0), (0.49, 0), (0.5, 1), (0.74, 1), (0.75, 2), (0.9999, 2), (1.0, 2)])
def test_by_chance(u: float, index: int) -> None:
    """Chance alone goes by the weights."""
    assert choose_evenly(entries(2, 1, 1), u) == index


def test_prefer_who_has_the_image() -> None:
    """Who has the image is preferred to home, unless it is busy; all redirectors take the same of several."""
    members = entries(1, 1, 1, 1)
    key = keys(1)[0]
    assert prefer(key, members, 0, [], ()) == 0
    assert prefer(key, members, 0, [0, 1], ()) == 0
    assert prefer(key, members, 0, [2], ()) == 2
    assert prefer(key, members, 0, [2], {2}) == 0
    assert prefer(key, members, 0, [1, 3], {1}) == 3
    assert prefer(key, members, 0, [1, 2, 3], ()) == [1, 2, 3][choose(key, members[1:])]


def test_busy() -> None:
    """A member that got more than its fair share and a bit counts as busy."""
    assert busy([0, 0], entries(1, 1), 0.25) == busy([9, 0], entries(1, 1), 0.25) == frozenset()
    assert busy([60, 40], entries(1, 1), 0.25) == frozenset()
    assert busy([700, 300], entries(1, 1), 0.25) == {0}
    assert busy([700, 300], entries(3, 1), 0.25) == frozenset()


def test_spill() -> None:
    """What would be a busy member's goes to the next best; where all are busy it stays."""
    members, key = entries(1, 1, 1), keys(1)[0]
    home = choose(key, members)
    assert spill(key, members, home, {(home + 1) % 3}) == home
    assert spill(key, members, home, {0, 1, 2}) == home
    others = [index for index in range(3) if index != home]
    assert spill(key, members, home, {home}) == others[choose(key, [members[index] for index in others])]


def test_digest() -> None:
    """A repository's short name is eight bytes, and the same everywhere."""
    assert digest(b"/build/gh/o/r").hex() == blake2b(b"/build/gh/o/r", digest_size=8).hexdigest()
