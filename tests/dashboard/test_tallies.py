"""Tallies: what a day comes to, and how it is packed."""

from __future__ import annotations

from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from binderlet.dashboard.tallies import (
    MINUTES,
    Tally,
    day_of,
    merge,
    pack_counts,
    pack_minutes,
    repository_of,
    start_of,
    unpack_counts,
    unpack_minutes,
)

COUNTS = st.dictionaries(st.integers(0, 2**31), st.integers(1, 10**6), max_size=50)


@given(st.dictionaries(st.integers(0, MINUTES - 1), st.integers(1, 10**6), max_size=50))
def test_minutes_come_back(minutes: dict[int, int]) -> None:
    """Packing and unpacking loses nothing."""
    assert {minute: count for minute, count in enumerate(unpack_minutes(pack_minutes(minutes))) if count} == minutes


@given(COUNTS)
def test_counts_come_back(counts: dict[int, int]) -> None:
    """Packing and unpacking loses nothing."""
    assert dict(unpack_counts(pack_counts(counts))) == counts


@pytest.mark.parametrize(
    ("provider", "spec", "repository"),
    [
        ("GitHub", "Owner/Repo/feature/x", "GitHub/owner/repo"),
        ("Gist", "user/abc", "Gist/user/abc"),
        ("GitLab", "group%2Fsub%2Frepo/main", "GitLab/group/sub/repo"),
        ("Git", "https%3A%2F%2Fgit.test%2Fr/HEAD", "Git/https://git.test/r"),
        ("Zenodo", "10.5281/zenodo.3242074", "Zenodo/10.5281/zenodo.3242074"),
    ],
)
def test_repositories(provider: str, spec: str, repository: str) -> None:
    """A repository is named without its ref, GitHub's whatever the case of letters."""
    assert repository_of(provider, spec) == repository


def test_parts_of_a_day_add_up() -> None:
    """Two parts of a day are one."""
    tallies = {(1, "a"): Tally(1, 2)}
    tallies[1, "a"].minutes[5] = 1
    part = Tally(2, 0)
    part.minutes[5] = 2
    part.repositories["r"] = 2
    merge(tallies, {(1, "a"): part, (2, "a"): Tally(1)})
    assert tallies[1, "a"].launches == 3
    assert tallies[1, "a"].failures == 2
    assert tallies[1, "a"].minutes[5] == 3
    assert tallies[1, "a"].repositories["r"] == 2
    assert tallies[2, "a"].launches == 1


def test_days() -> None:
    """A day begins at midnight, UTC."""
    day = date(2027, 1, 15).toordinal()
    assert day_of(start_of(day)) == day
    assert day_of(start_of(day) - 1) == day - 1
    assert start_of(day) == 1_799_971_200
