"""What this service did, from its history."""

from __future__ import annotations

import asyncio
import random
import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from binderlet.dashboard.own import (
    SLOTS,
    UNKNOWN,
    at_once,
    bucket,
    concurrency_chart,
    durations,
    latency_chart,
    outcome_chart,
    percentile,
    sum_up,
)
from binderlet.dashboard.tallies import day_of, start_of
from binderlet.errors import StoreUnavailable
from binderlet.events.store import History
from support.facts import LAUNCH_ENDED, LAUNCH_STARTED, NOW, SESSION_ENDED, SESSION_STARTED

DAY = day_of(NOW)
START = start_of(DAY)


async def history(path: Path) -> Path:
    """A history of two launches and a session."""
    kept = History(path / "history.sqlite")
    kept.listen(LAUNCH_STARTED)
    kept.listen(LAUNCH_ENDED)
    kept.listen(replace(LAUNCH_ENDED, launch_id="2", status="failure", code="session_died"))
    kept.listen(replace(LAUNCH_STARTED, launch_id="3"))
    kept.listen(replace(LAUNCH_ENDED, launch_id="4", built=False, at=NOW + 1))
    kept.listen(SESSION_STARTED)
    kept.listen(SESSION_ENDED)
    await kept.close()
    return path / "history.sqlite"


async def test_a_day_is_summed_up(tmp_path: Path) -> None:
    """Outcomes, errors, latency and session time of a day are what the history has."""
    path = await history(tmp_path)
    found = await asyncio.to_thread(sum_up, path, [], NOW + 60)
    body = found[DAY]
    assert body["outcomes"] == {"success": 2, "failure": 1, "cut off": 1}
    assert body["codes"] == {"session_died": 1}
    assert body["latency"] == {"ready": {bucket(1): 1}, "built": {bucket(5): 1}}
    assert "owner" not in repr(found)
    later = await asyncio.to_thread(sum_up, path, [DAY], NOW + 5 * 86400)
    assert set(later) == {DAY + number for number in range(1, 6)}
    assert set(await asyncio.to_thread(sum_up, path, [DAY, DAY + 1], NOW + 86400)) == {DAY, DAY + 1}


async def test_sessions_of_a_day(tmp_path: Path) -> None:
    """A session counts on each day on which it ran, and its length on the day it ended."""
    kept = History(tmp_path / "history.sqlite")
    kept.listen(LAUNCH_ENDED)
    session = replace(SESSION_STARTED.session, created_at=START + 86400 - 60)
    kept.listen(replace(SESSION_STARTED, session=session, at=START + 86400 - 59))
    kept.listen(replace(SESSION_ENDED, session=session, at=START + 86400 + 540))
    await kept.close()
    found = await asyncio.to_thread(sum_up, tmp_path / "history.sqlite", [], START + 2 * 86400)
    assert [found[day]["session_seconds"] for day in (DAY, DAY + 1)] == pytest.approx([60, 540])
    assert [found[day]["lengths"] for day in (DAY, DAY + 1)] == [{}, {bucket(600): 1}]


def test_no_history(tmp_path: Path) -> None:
    """A service that has none yet did nothing; a damaged one is told."""
    assert sum_up(tmp_path / "history.sqlite", [], NOW) == {}
    (tmp_path / "history.sqlite").write_text("damaged " * 1000)
    with pytest.raises(StoreUnavailable, match="cannot be read"):
        sum_up(tmp_path / "history.sqlite", [], NOW)
    with closing(sqlite3.connect(tmp_path / "empty.sqlite")) as database:
        database.execute("CREATE TABLE launches (started_at REAL)")
        database.execute("CREATE TABLE sessions (started_at REAL, ended_at REAL)")
    assert set(sum_up(tmp_path / "empty.sqlite", [], NOW)) == {DAY}


def row(begins: float, ends: float | None) -> Any:  # noqa: ANN401 - stands for a row of SQLite
    """A session of the history."""
    return {"started_at": START + begins, "ended_at": None if ends is None else START + ends}


@pytest.mark.parametrize(
    ("sessions", "now", "most", "seconds"),
    [
        ([], 86400, {}, 0),
        ([row(0, 900)], 86400, {0: 1, 1: 1}, 900),
        ([row(100, 200), row(300, 400)], 86400, {0: 1}, 200),
        ([row(100, 500), row(300, 400)], 86400, {0: 2}, 500),
        ([row(-500, 86400 + 500)], 2 * 86400, dict.fromkeys(range(96), 1), 86400),
        ([row(900, None)], 1800, {1: 1, 2: 1}, 900),
        ([row(0, None)], 86400, dict.fromkeys(range(25), 1), UNKNOWN),
        ([row(90000, 90001)], 86400 * 2, {}, 0),
    ],
    ids=["none", "one", "one after another", "two", "all day", "still runs", "end unknown", "tomorrow"],
)
def test_sessions_at_once(sessions: list[Any], now: float, most: dict[int, int], seconds: float) -> None:
    """The most at once of each quarter of an hour, and the time of all."""
    found, total = at_once(sessions, START, START + now)
    assert {slot: count for slot, count in enumerate(found) if count} == most
    assert total == pytest.approx(seconds)


@given(st.lists(st.floats(0.01, 10_000), min_size=1, max_size=200), st.sampled_from([0.5, 0.95, 0.99]))
def test_percentiles_are_close(seconds: list[float], share: float) -> None:
    """A percentile of the buckets is within 5 % of that of the durations."""
    histogram: dict[str, int] = {}
    for one in seconds:
        histogram[bucket(one)] = histogram.get(bucket(one), 0) + 1
    exact = sorted(seconds)[max(0, -(-round(share * 1000 * len(seconds)) // 1000) - 1)]
    found = percentile([histogram], share)
    assert found is not None
    assert exact / 1.06 <= found <= exact * 1.06
    assert sum(count for _, count in durations([histogram])) == len(seconds)


def test_no_percentile_of_nothing() -> None:
    """Where nothing was measured there is no value."""
    assert percentile([], 0.5) is None


def body(**more: object) -> dict[str, Any]:
    """A day's sums."""
    return {
        "outcomes": {"success": 3},
        "codes": {},
        "latency": {"ready": {bucket(2): 3}, "built": {}},
        "sessions": [2] * SLOTS,
        "session_seconds": 86400.0,
        "lengths": {},
    } | more


def test_charts() -> None:
    """Each chart has a value for the days that are known, and none for others."""
    own = {DAY: body(), DAY + 2: body(outcomes={"failure": 1, "pod_quota": 2, "repo_quota": 1})}
    outcomes = outcome_chart(own, DAY, DAY + 2)
    assert {series.name: series.values for series in outcomes.series} == {
        "success": (3, 0, 0),
        "failure": (0, 0, 1),
        "refused": (0, 0, 3),
    }
    latency = latency_chart(own, DAY, DAY + 1)
    assert latency.series[0].values[0] == pytest.approx(2, rel=0.03)
    assert latency.series[0].values[1] is None
    assert latency.series[2].values == (None, None)
    short = concurrency_chart(own, DAY, DAY + 1)
    assert len(short.positions) == 2 * SLOTS
    assert short.series[0].values[:1] == (2,)
    assert short.series[0].values[-1] is None
    long = concurrency_chart(own, DAY, DAY + 40)
    assert [series.values[:2] for series in long.series] == [(2, None), (1, None)]


def test_random_sessions_agree_with_a_plain_count() -> None:
    """The sweep over ends and beginnings finds what looking at every second finds."""
    chance = random.Random(7)  # noqa: S311 - a test must be the same each time
    sessions = []
    for _ in range(30):
        begins = chance.randrange(86000)
        sessions.append(row(begins, begins + chance.randrange(1, 4000)))
    found, _ = at_once(sessions, START, START + 86400)
    for slot in range(SLOTS):
        plain = max(
            sum(one["started_at"] - START <= second < one["ended_at"] - START for one in sessions)
            for second in range(slot * 900, slot * 900 + 900)
        )
        assert found[slot] >= plain
        assert found[slot] <= plain + 1
