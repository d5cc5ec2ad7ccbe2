"""What this service itself did, day by day, from its history: outcomes, latency, sessions at once.

History is kept for some months; what a day comes to is kept for good, and has neither repositories nor addresses.
"""

from __future__ import annotations

import math
import sqlite3
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from binderlet.dashboard.charts import Chart, Kind, Series
from binderlet.dashboard.series import positions
from binderlet.dashboard.tallies import day_of, start_of
from binderlet.errors import StoreUnavailable

GROWTH = 1.05
"""Ratio of a bucket's bounds: percentiles are right to 2.5 %."""
DAY = 86400.0
SLOTS = 96
"""Quarters of an hour, for the sessions at once."""

UNKNOWN = 6 * 3600.0
"""Seconds that a session is taken to have run at most whose end nobody saw, as the machine went down."""

Histogram = Mapping[str, int]
"""Counts per bucket; text keys, as JSON has them."""
Body = Mapping[str, Any]


def bucket(seconds: float) -> str:
    """Give the bucket of a duration."""
    return str(math.floor(math.log(max(seconds, 0.001), GROWTH)))


def percentile(histograms: Iterable[Histogram], share: float) -> float | None:
    """Give the duration below which this share of all is; None where there is nothing."""
    counts: Counter[int] = Counter()
    for histogram in histograms:
        counts.update({int(key): count for key, count in histogram.items()})
    left = share * counts.total()
    for key in sorted(counts):
        left -= counts[key]
        if left <= 0:
            return float(GROWTH ** (key + 0.5))
    return None


def durations(histograms: Iterable[Histogram]) -> list[tuple[float, int]]:
    """Give durations with how often they were."""
    counts: Counter[int] = Counter()
    for histogram in histograms:
        counts.update({int(key): count for key, count in histogram.items()})
    return [(GROWTH ** (key + 0.5), counts[key]) for key in sorted(counts)]


def day_body(launches: Sequence[sqlite3.Row], sessions: Sequence[sqlite3.Row], start: float, now: float) -> Body:
    """Sum up a day: its launches, and the sessions that ran on it."""
    outcomes: Counter[str] = Counter()
    codes: Counter[str] = Counter()
    latency: dict[str, Counter[str]] = {"ready": Counter(), "built": Counter()}
    for row in launches:
        outcomes[row["status"] or "cut off"] += 1
        if row["code"]:
            codes[row["code"]] += 1
        if row["status"] == "success" and not row["build_only"] and row["ended_at"] is not None:
            latency["built" if row["built"] else "ready"][bucket(row["ended_at"] - row["started_at"])] += 1
    most, seconds = at_once(sessions, start, now)
    lengths = Counter(bucket(row["ended_at"] - row["started_at"]) for row in sessions if is_end(row, start))
    return {
        "outcomes": outcomes,
        "codes": codes,
        "latency": latency,
        "sessions": most,
        "session_seconds": seconds,
        "lengths": lengths,
    }


def is_end(row: sqlite3.Row, start: float) -> bool:
    """Whether a session ended on the day that begins at ``start``."""
    return row["ended_at"] is not None and start <= row["ended_at"] < start + DAY


def at_once(sessions: Sequence[sqlite3.Row], start: float, now: float) -> tuple[list[int], float]:
    """Give the most sessions at once in each quarter of an hour of a day, and the seconds of all together."""
    steps: list[tuple[float, int]] = []
    seconds = 0.0
    for row in sessions:
        ended = row["ended_at"] or min(now, row["started_at"] + UNKNOWN)
        begins, ends = max(row["started_at"], start), min(ended, start + DAY)
        if begins < ends:
            steps += [(begins, 1), (ends, -1)]
            seconds += ends - begins
    most, running, slot = [0] * SLOTS, 0, 0
    for moment, step in sorted(steps):
        here = min(SLOTS - 1, int((moment - start) / DAY * SLOTS))
        while slot < here:
            slot += 1
            most[slot] = running
        running += step
        most[slot] = max(most[slot], running)
    for rest in range(slot + 1, SLOTS):
        most[rest] = running
    return most, seconds


def sum_up(history: Path, known: Iterable[int], now: float) -> dict[int, Body]:
    """Sum up today, yesterday, and each day of the history that is not known yet.

    Raises:
        StoreUnavailable: the history cannot be read.
    """
    if not history.exists():
        return {}
    today = day_of(now)
    try:
        with closing(sqlite3.connect(f"file:{history}?mode=ro", uri=True, timeout=5.0)) as database:
            database.row_factory = sqlite3.Row
            (oldest,) = database.execute("SELECT min(started_at) FROM launches").fetchone()
            first = today if oldest is None else day_of(oldest)
            days = sorted({today - 1, today} | (set(range(first, today)) - set(known)))
            return {day: _sum_day(database, start_of(day), now) for day in days if day >= first}
    except sqlite3.Error as error:
        raise StoreUnavailable(f"The history {history} cannot be read: {error}.") from error


def _sum_day(database: sqlite3.Connection, start: float, now: float) -> Body:
    span = (start, start + DAY)
    launches = database.execute("SELECT * FROM launches WHERE started_at >= ? AND started_at < ?", span).fetchall()
    # No session is longer than a week; this keeps the look-up short.
    sql = "SELECT started_at, ended_at FROM sessions WHERE started_at < ? AND started_at > ?"
    rows = database.execute(f"{sql} AND (ended_at IS NULL OR ended_at > ?)", (start + DAY, start - 7 * DAY, start))
    return day_body(launches, rows.fetchall(), start, now)


def outcome_chart(own: Mapping[int, Body], first: int, last: int) -> Chart:
    """Show how launches ended."""
    names = {"success": "success", "failure": "failure", "refused": "refused", "cut off": "cut off"}
    values = {name: [0.0] * (last - first + 1) for name in names}
    for day, body in own.items():
        for status, count in body["outcomes"].items():
            values[status if status in names else "refused"][day - first] += count
    return Chart(
        "outcomes",
        "How launches ended",
        "This service's launches: refused ones found the machine or the repository full; cut off ones ended with the "
        "service.",
        Kind.STACK,
        "launches",
        positions(first, last),
        tuple(Series(name, tuple(counts)) for name, counts in values.items() if any(counts) or name == "success"),
    )


def latency_chart(own: Mapping[int, Body], first: int, last: int) -> Chart:
    """Show how long launches took until the session answered."""
    shown = [("median, image was there", "ready", 0.5), ("p95, image was there", "ready", 0.95)]
    shown += [("median, with build", "built", 0.5), ("p95, with build", "built", 0.95)]
    days = range(first, last + 1)
    return Chart(
        "latency",
        "Time to a session",
        "From the request to the first answer of this service's sessions; percentiles are right to 2.5 %.",
        Kind.LINES,
        "s",
        positions(first, last),
        tuple(
            Series(
                name,
                tuple(percentile([own[day]["latency"][which]], share) if day in own else None for day in days),
            )
            for name, which, share in shown
        ),
    )


def concurrency_chart(own: Mapping[int, Body], first: int, last: int) -> Chart:
    """Show the sessions at once: each quarter of an hour for up to a month, else each day's most and mean."""
    days = range(first, last + 1)
    if len(days) <= 31:  # noqa: PLR2004 - a month
        places = tuple(start_of(day) + slot * DAY / SLOTS for day in days for slot in range(SLOTS))
        most = tuple(float(one) if day in own else None for day in days for one in _slots(own, day))
        series: tuple[Series, ...] = (Series("most at once", most),)
    else:
        places = positions(first, last)
        peaks = tuple(float(max(_slots(own, day))) if day in own else None for day in days)
        means = tuple(own[day]["session_seconds"] / DAY if day in own else None for day in days)
        series = (Series("most at once", peaks), Series("mean", means))
    return Chart(
        "concurrency",
        "Sessions at once",
        "This service's sessions that ran at the same time, quiet ones included.",
        Kind.LINES,
        "sessions",
        places,
        series,
        axis="Time",
    )


def _slots(own: Mapping[int, Body], day: int) -> Sequence[int]:
    found: Sequence[int] = own[day]["sessions"] if day in own else [0] * SLOTS
    return found
