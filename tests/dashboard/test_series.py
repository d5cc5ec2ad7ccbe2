"""Charts of launches."""

from __future__ import annotations

from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from binderlet.dashboard.series import (
    OTHERS,
    SHOWN,
    hours_chart,
    launches_chart,
    per_member,
    repositories_chart,
    share_chart,
    top_repositories,
)
from binderlet.dashboard.tallies import DayCount, start_of

FIRST = date(2027, 1, 15).toordinal()
COUNTS = [
    DayCount(FIRST, "old", "s", 30, 0),
    DayCount(FIRST + 1, "old", "s", 30, 0),
    DayCount(FIRST + 1, "new", "s", 70, 0),
]
JOINED = {"old": FIRST - 100, "new": FIRST + 1}


def test_who_served_what_and_the_day_a_member_joined() -> None:
    """Each member has its launches per day, and who came later is marked on the day of its first launch."""
    chart = launches_chart(COUNTS, JOINED, FIRST, FIRST + 2)
    assert [(series.name, series.values) for series in chart.series] == [("new", (0, 70, 0)), ("old", (30, 30, 0))]
    assert [(mark.at, mark.text) for mark in chart.marks] == [(start_of(FIRST + 1), "new joined")]
    assert chart.positions == tuple(start_of(FIRST + day) for day in range(3))


def test_shares() -> None:
    """Shares are of the day's launches; a day without launches has none."""
    chart = share_chart(COUNTS, JOINED, FIRST, FIRST + 2)
    assert [(series.name, series.values) for series in chart.series] == [
        ("new", (0, 70, None)),
        ("old", (100, 30, None)),
    ]
    assert share_chart([], {}, FIRST, FIRST).is_empty


def test_small_members_are_others() -> None:
    """A federation of many has a colour for the largest, and one for all others."""
    counts = [DayCount(FIRST, f"m{number}", "s", number + 1, 0) for number in range(SHOWN + 3)]
    found = per_member([*counts, DayCount(FIRST, "none", "s", 0, 3)], FIRST, FIRST)
    assert len(found) == SHOWN + 1
    assert found[OTHERS] == [1 + 2 + 3]


@given(
    st.lists(st.tuples(st.integers(0, 4), st.sampled_from("abcdefghijkl"), st.integers(0, 50)), max_size=40),
)
def test_no_launch_is_lost_in_a_chart(rows: list[tuple[int, str, int]]) -> None:
    """The sum over all series is that of the counts, and shares of a day are 100 %."""
    counts = [DayCount(FIRST + day, member, "s", launches, 0) for day, member, launches in rows]
    assert sum(map(sum, per_member(counts, FIRST, FIRST + 4).values())) == sum(count.launches for count in counts)
    chart = share_chart(counts, {}, FIRST, FIRST + 4)
    for column in zip(*(series.values for series in chart.series), strict=True):
        assert column[0] is None or sum(value or 0 for value in column) == pytest.approx(100)


def test_hours() -> None:
    """Hours are means over workdays and over weekends."""
    friday = [0] * 24
    friday[9] = 6
    saturday = [0] * 24
    saturday[9] = 2
    chart = hours_chart({FIRST: friday, FIRST + 1: saturday, FIRST + 3: [0] * 24})
    assert [(series.name, series.values[9]) for series in chart.series] == [("workdays", 3), ("weekends", 2)]
    assert chart.labels[9] == "09:00"


def test_seldom_repositories_are_not_named() -> None:
    """A repository with few launches, and the rest beyond the top, are others."""
    counts = {"a": 10, "b": 7, "c": 7, "secret": 4}
    assert top_repositories(counts, least=5) == [("a", 10), ("b", 7), ("c", 7), (OTHERS, 4)]
    assert top_repositories(counts, least=5, top=2) == [("a", 10), ("b", 7), (OTHERS, 11)]
    assert top_repositories({"a": 1}, least=1) == [("a", 1)]
    chart = repositories_chart(counts, least=5)
    assert chart.labels == ("a", "b", "c")
    assert "4 repositories were launched 28 times, 4 of them not in this list" in chart.note
    assert "secret" not in repr(chart)
