"""What happens is put on record."""

from __future__ import annotations

import asyncio
from pathlib import Path

import aiosqlite
import pytest

from binderlet.app.record import Record
from binderlet.config import Settings
from binderlet.events.bus import Bus
from binderlet.model import ServiceStatus
from binderlet.tasks import Tasks
from support.facts import LAUNCH_ENDED

STATUS = ServiceStatus(0, 0, 0, 0, 0, draining=False, started_at=0.0)


@pytest.mark.parametrize("archive", [True, False])
async def test_an_ended_launch_is_counted_and_kept(tmp_path: Path, *, archive: bool) -> None:
    """A launch is in the metrics, in the history, and, where the operator wants it, in the archive."""
    bus = Bus()
    async with Tasks("test") as tasks:
        settings = Settings.model_validate({"events": {"archive": archive}})
        record = Record(tmp_path, settings, lambda: STATUS, {"gh": "GitHub"})
        await record.keep(bus, tasks)
        bus.tell(LAUNCH_ENDED)
        assert b"binderhub_launch_count_total{" in record.render()
        await record.close()
        await tasks.close()
    async with (
        aiosqlite.connect(tmp_path / "history.sqlite") as store,
        store.execute("select count(*) from launches") as rows,
    ):
        assert await rows.fetchone() == (1,)
    assert bool(await asyncio.to_thread(lambda: list(tmp_path.glob("archive/launches-*.jsonl")))) == archive
