"""Numbers on a time of service."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from binderlet.dashboard.evaluation import MONTH, Outage, Uptime, evaluate, money_of, uptime_of, without
from binderlet.dashboard.notes import Note
from binderlet.dashboard.own import bucket
from binderlet.dashboard.store import BEAT
from binderlet.dashboard.tallies import DayCount

BODY: dict[str, Any] = {
    "outcomes": {"success": 8, "failure": 2, "pod_quota": 1},
    "codes": {"session_died": 2},
    "latency": {"ready": {bucket(2): 8}, "built": {}},
    "sessions": [1, 5, 2],
    "session_seconds": 7200,
    "lengths": {},
}


def test_an_evaluation() -> None:
    """Launches, share, success, latency, cost and effort are sums over the days."""
    counts = [DayCount(10, "me", "s", 30, 0), DayCount(10, "other", "s", 10, 0), DayCount(11, "me", "s", 30, 0)]
    notes = [Note(1, "work", 30, "x")]
    told = evaluate(
        10,
        11,
        "me",
        counts,
        {10: BODY, 11: BODY},
        uptime=Uptime(0.5, 0),
        hours=({10: [40, 30]}, {10: [10, 0]}),
        notes=notes,
        month=MONTH,
        currency="EUR",
    )
    assert (told.days, told.launches, told.federation, told.share) == (2, 60, 70, 60 / 70)
    assert told.success == 0.8
    assert told.latency["ready"][0] == pytest.approx(2, rel=0.03)
    assert told.latency["built"] == (None, None, None)
    assert (told.session_hours, told.most_at_once) == (4, 5)
    assert told.money is not None
    assert told.money.total == pytest.approx(2)
    assert told.money.per_launch == pytest.approx(2 / 60)
    assert told.money.per_session_hour == pytest.approx(0.5)
    assert told.without is not None
    assert told.without.more == 7
    assert told.without.beyond == 30 + 20


def test_a_service_alone() -> None:
    """Without archive and federation, the service's own successes are its launches."""
    told = evaluate(10, 10, "me", [], {10: BODY}, uptime=Uptime(None, 0), hours=({}, {}))
    assert (told.launches, told.share, told.without, told.money) == (8, 1, None, None)
    nothing = evaluate(10, 10, "me", [], {}, uptime=Uptime(None, 0), hours=({}, {}))
    assert (nothing.share, nothing.success) == (None, None)


def test_money_for_nothing() -> None:
    """Where nothing was launched there is no cost of a launch."""
    assert money_of(5, 0, 0, "EUR").per_launch is None


def test_without_others() -> None:
    """A member alone cannot be compared."""
    assert without(5, 0, {}, {}) is None


@pytest.mark.parametrize(
    ("beats", "share", "outages"),
    [
        ({}, None, []),
        (dict.fromkeys(range(10, 20), True), 1.0, []),
        ({**dict.fromkeys(range(10, 20), True), 15: False}, 1.0, []),
        ({**dict.fromkeys(range(10, 20), True), 15: False, 16: False}, 0.8, [Outage(15 * BEAT, 2 * BEAT, ran=True)]),
        (dict.fromkeys([10, 11, 12, 13, 14], True), 0.5, [Outage(15 * BEAT, 5 * BEAT, ran=False)]),
        (dict.fromkeys([10, 11, 13, 14, 18, 19], True), 0.7, [Outage(15 * BEAT, 3 * BEAT, ran=False)]),
    ],
    ids=["nothing", "all", "one missed", "not well", "ends early", "twice"],
)
def test_uptime(beats: dict[int, bool], share: float | None, outages: list[Outage]) -> None:
    """One slot may be missed; more are an outage, of which it is told whether the service ran."""
    found = uptime_of(beats, 10 * BEAT, 20 * BEAT)
    assert (found.share, list(found.outages)) == (share, outages)


def test_nothing_is_held_against_the_time_before() -> None:
    """Uptime begins with the first note, not with the range."""
    found = uptime_of(dict.fromkeys(range(15, 20), True), 0, 20 * BEAT)
    assert (found.share, found.known_since) == (1.0, 15 * BEAT)


@given(st.dictionaries(st.integers(0, 60), st.booleans(), min_size=1))
def test_uptime_and_outages_make_the_whole(beats: dict[int, bool]) -> None:
    """Time up and time of outages are all the time since the first note."""
    found = uptime_of(beats, 0, 61 * BEAT)
    length = 61 - min(beats)
    away = sum(outage.seconds for outage in found.outages) / BEAT
    assert found.share is not None
    assert found.share * length + away == pytest.approx(length)
