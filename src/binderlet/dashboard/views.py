"""The charts of a range of days, over everything that was imported and what this service itself did.

``python -m binderlet.dashboard.views STORE FIRST LAST LEAST`` writes them as pickle on standard output: the service
counts in a process of its own, so that a long range costs its visitors nothing.
"""

from __future__ import annotations

import pickle
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from binderlet.dashboard.charts import Chart
from binderlet.dashboard.own import concurrency_chart, latency_chart, outcome_chart
from binderlet.dashboard.series import hours_chart, launches_chart, repositories_chart, share_chart
from binderlet.dashboard.store import StatisticsStore
from binderlet.errors import BadRange, StoreUnavailable

SHOWN_DAYS = 90
"""Days shown where no range is given."""
TIMEOUT = 120.0


@dataclass(frozen=True, slots=True)
class Range:
    """Days, the last one included, as ``date.toordinal`` counts."""

    first: int
    last: int

    def __str__(self) -> str:
        return f"{date.fromordinal(self.first)} to {date.fromordinal(self.last)}"

    @property
    def days(self) -> int:
        """How many days it has."""
        return self.last - self.first + 1


def read_range(begins: str, ends: str, extent: tuple[int, int] | None, today: int) -> Range:
    """Read a range; without a beginning it is the last three months, without an end up to the last day known.

    Raises:
        BadRange: it is none.
    """
    known = extent or (today, today)
    try:
        last = date.fromisoformat(ends).toordinal() if ends else known[1]
        first = date.fromisoformat(begins).toordinal() if begins else max(known[0], last - SHOWN_DAYS + 1)
    except ValueError as error:
        raise BadRange(f"{begins or ends!r} is not a day: {error}.") from error
    if first > last:
        raise BadRange(f"The range ends on {date.fromordinal(last)}, before it begins on {date.fromordinal(first)}.")
    # A range of millennia would be drawn day by day: what lies outside of what is known has nothing to show.
    return Range(max(first, min(known[0], last)), min(last, max(known[1], today, first)))


def make_charts(store: StatisticsStore, shown: Range, least: int) -> list[Chart]:
    """Make every chart that has something to show.

    Raises:
        StoreUnavailable: the statistics cannot be read.
    """
    first, last = shown.first, shown.last
    counts, joined = store.days(first, last), store.first_days()
    own = store.own(first, last)
    charts = [
        launches_chart(counts, joined, first, last),
        share_chart(counts, joined, first, last),
        hours_chart(store.hours(first, last)),
        repositories_chart(store.repositories(first, last), least),
        outcome_chart(own, first, last),
        latency_chart(own, first, last),
        concurrency_chart(own, first, last),
    ]
    return [chart for chart in charts if not chart.is_empty]


def charts_apart(path: Path, shown: Range, least: int) -> Sequence[Chart]:
    """Make the charts in a process of its own; blocks until it is done.

    Raises:
        StoreUnavailable: the statistics cannot be read.
    """
    words = map(str, (path, shown.first, shown.last, least))
    command = [sys.executable, "-m", "binderlet.dashboard.views", *words]
    done = subprocess.run(command, capture_output=True, timeout=TIMEOUT, check=False)
    if done.returncode:
        lines = done.stderr.decode("utf-8", "replace").strip().splitlines()
        raise StoreUnavailable(f"The statistics cannot be counted: {lines[-1] if lines else 'no reason was given'}.")
    charts: Sequence[Chart] = pickle.loads(done.stdout)  # noqa: S301 - from our own child process
    return charts


def main() -> None:
    """Write the charts that the arguments ask for."""
    path, first, last, least = sys.argv[1:]
    charts = make_charts(StatisticsStore(Path(path)), Range(int(first), int(last)), int(least))
    sys.stdout.buffer.write(pickle.dumps(charts))


if __name__ == "__main__":
    main()
