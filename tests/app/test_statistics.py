"""The archive's publisher and the statistics of one service."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from binderlet.app.record import Record
from binderlet.app.statistics import Counting, has_events, targets_of
from binderlet.clients.s3 import S3Bucket
from binderlet.config import Settings
from binderlet.dashboard.store import StatisticsStore
from binderlet.errors import StoreUnavailable
from binderlet.events.archive import launch_event, write_lines
from binderlet.events.archive_publish import Publisher
from binderlet.events.bus import Bus
from binderlet.model import ServiceStatus
from binderlet.tasks import Tasks
from support.eventually import eventually
from support.facts import LAUNCH_ENDED, LAUNCH_STARTED
from support.s3_server import S3Server

STATUS = ServiceStatus(0, 0, 0, 0, 0, draining=False, started_at=0.0)


def settings(**sections: object) -> Settings:
    """Settings with some sections of their own."""
    return Settings.model_validate(sections)


async def test_launches_are_published_and_counted(tmp_path: Path) -> None:
    """What the bus tells is in the public archive, in the copy, and in the statistics, without anybody asking."""
    wanted = settings(archive={"every": 1, "folder": str(tmp_path / "copy"), "origin": "here.test"})
    bus = Bus()
    async with Tasks("test") as tasks:
        record = Record(tmp_path, wanted, lambda: STATUS, {"gh": "GitHub"})
        await record.keep(bus, tasks)
        bus.tell(LAUNCH_STARTED)
        bus.tell(LAUNCH_ENDED)
        public = tmp_path / "archive" / "public"
        await eventually(lambda: asyncio.to_thread(has_events, public))
        await eventually(lambda: asyncio.to_thread(has_events, tmp_path / "copy"))
        counting = record.counting
        await counting.count()
        store = StatisticsStore(tmp_path / "statistics.sqlite")
        (row,) = await asyncio.to_thread(store.days, 1, 10**6)
        assert (row.member, row.launches) == ("here.test", 1)
        await eventually(lambda: asyncio.to_thread(lambda: bool(store.beats(0, 1e12))))
        assert [check.service for check in counting.checks()] == ["Launch archive"]
        assert counting.served == public
        assert counting.shown is not None
        assert b"binderlet_archive_behind_seconds 0.0" in record.render()
        await tasks.close()
        await record.close()


def test_what_is_switched_off(tmp_path: Path) -> None:
    """Without pages nothing is shown, without archive nothing served or checked."""
    nothing = settings(archive={"publish": False}, statistics={"pages": False})
    counting = Counting(tmp_path, nothing, is_well=lambda: True)
    assert (counting.shown, counting.served, counting.checks()) == (None, None, ())
    hidden = Counting(tmp_path, settings(archive={"serve": False}), is_well=lambda: True)
    assert hidden.served is None
    assert targets_of(settings()) == []


@pytest.mark.timeout(180)  # the first test waits for the server
async def test_a_bucket(tmp_path: Path, s3: S3Server) -> None:
    """The public files are in a bucket of S3-compatible storage, as they are in the folder."""
    bucket = await asyncio.to_thread(s3.make_bucket)
    reached = s3.settings(bucket)
    wanted = settings(archive={"s3": {**reached.model_dump(exclude={"folder"}), "folder": "launches"}})
    (target,) = targets_of(wanted, s3.ca_bundle)
    assert target.name == f"{s3.endpoint}{bucket}/launches/"
    publisher = Publisher(tmp_path, tmp_path / "public", [target])
    line = json.dumps({"id": "a", "event": launch_event(LAUNCH_ENDED)}).encode() + b"\n"
    await asyncio.to_thread(write_lines, tmp_path, [line])
    assert await publisher.publish() == ["events-2027-01-15.jsonl", "index.jsonl", "index.html"]
    stored = await S3Bucket(reached, ca_bundle=s3.ca_bundle).get("launches/events-2027-01-15.jsonl")
    assert stored == await asyncio.to_thread((tmp_path / "public" / "events-2027-01-15.jsonl").read_bytes)


async def test_a_store_that_fails_is_told_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Counting goes on once the store works again."""
    tries = 0

    async def count(self: Counting) -> None:
        nonlocal tries
        tries += 1
        if tries < 3:
            raise StoreUnavailable("No disk.")

    monkeypatch.setattr(Counting, "count", count)
    wanted = settings(archive={"publish": False})
    quick = wanted.model_copy(update={"statistics": wanted.statistics.model_copy(update={"every": 0.001})})
    counting = Counting(tmp_path, quick, is_well=lambda: False)
    async with Tasks("test") as tasks:
        counting.start(tasks)

        async def tried() -> bool:
            return tries > 4

        await eventually(tried)
        await tasks.close()
