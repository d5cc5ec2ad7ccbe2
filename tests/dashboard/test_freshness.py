"""Whether an archive is up to date."""

from __future__ import annotations

import asyncio
from datetime import date
from pathlib import Path

import pytest

from binderlet.dashboard.freshness import look_at
from binderlet.dashboard.store import StatisticsStore
from support.archives import event_line, write_archive

DAYS = {
    "2024-05-06": [event_line()],
    "2024-05-07": [event_line("2024-05-07T10:00:00+00:00", origin="two.test")],
    "2024-05-08": [event_line("2024-05-08T10:00:00+00:00", status="failure")],
}


@pytest.mark.parametrize(
    ("today", "members", "problems"),
    [
        ("2024-05-07", ["one.test", "two.test"], []),
        ("2024-05-08", ["one.test"], ["There are no launches of one.test."]),
        ("2024-05-12", [], ["The last launches are 5 days old, of 2024-05-07."]),
    ],
)
async def test_an_archive(tmp_path: Path, today: str, members: list[str], problems: list[str]) -> None:
    """A stale archive and a member that is missing are named."""
    folder = await asyncio.to_thread(write_archive, tmp_path, DAYS)
    seen = await look_at(
        str(folder), StatisticsStore(tmp_path / "s.sqlite"), days=2, today=date.fromisoformat(today).toordinal()
    )
    assert seen.problems(members) == problems


async def test_an_archive_of_nothing(tmp_path: Path) -> None:
    """Failures alone are no launches."""
    folder = await asyncio.to_thread(write_archive, tmp_path, {"2024-05-08": DAYS["2024-05-08"]})
    seen = await look_at(
        str(folder), StatisticsStore(tmp_path / "s.sqlite"), days=2, today=date(2024, 5, 8).toordinal()
    )
    assert seen.problems([]) == ["The archive has no launches."]
