"""What is usual at an hour of the day: stories of some days."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from binderlet.sessions.habit import DAY, FORGET, HOUR, Habit, hour_of, is_known, is_usual, noted

NINE = 9 * HOUR


def launched(*days: int, times: int = 1) -> Habit:
    """Give the habit of something launched at nine on these days, several times each."""
    habit: Habit = {}
    for day in days:
        for number in range(times):
            habit = noted(habit, day * DAY + NINE + 60 * number)
    return habit


@pytest.mark.parametrize(
    ("habit", "day", "expected"),
    [
        ({}, 1, False),
        (launched(0), 1, False),
        (launched(0, times=50), 1, False),  # one busy morning is no habit
        (launched(0, 1), 2, True),
        (launched(0, 1), 3, False),
        (launched(0, 1, 2, 3, 4), 7, True),  # after a weekend
        (launched(0, 1, 2, 3, 4), 14, False),  # after a week without
        (launched(0, 7, 14), 21, False),  # once a week is too seldom
    ],
)
def test_what_is_usual(habit: Habit, day: int, expected: bool) -> None:  # noqa: FBT001 - a table
    """On at least two of the last few days, each day counted once."""
    assert is_usual(habit, day * DAY + NINE) is expected


def test_it_is_known_some_time_ahead() -> None:
    """In the hour itself and shortly before it, not after it."""
    habit = launched(0, 1)
    day = 2 * DAY
    moments = [day + 8 * HOUR, day + NINE - 900, day + NINE, day + 10 * HOUR - 1, day + 10 * HOUR]
    assert [is_usual(habit, now, 900) for now in moments] == [False, True, True, True, False]


def test_what_does_not_come_back_is_forgotten() -> None:
    """Some ten days after its last launch; the next launch at another hour drops it."""
    habit = launched(0)
    assert is_known(habit, 9 * DAY)
    assert not is_known(habit, 11 * DAY)
    assert noted(habit, 11 * DAY).keys() == {0}
    assert noted(habit, DAY).keys() == {0, 9}


@given(st.lists(st.floats(0, 60 * DAY), max_size=60))
def test_a_habit_stays_small(times: list[float]) -> None:
    """However much is launched, there are at most 24 hours, and none counts more than all days together."""
    habit: Habit = {}
    for now in sorted(times):
        habit = noted(habit, now)
    assert len(habit) <= 24
    assert all(FORGET <= count < 6 and hour == hour_of(at) for hour, (count, at) in habit.items())
