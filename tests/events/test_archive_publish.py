"""The public archive, in the form that mybinder.org publishes."""

from __future__ import annotations

import asyncio
import json
import os
import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from binderlet.errors import BinderletError, StoreUnavailable
from binderlet.events.archive import write_lines
from binderlet.events.archive_publish import (
    DAY_NS,
    FolderTarget,
    Publisher,
    known_counts,
    public_lines,
    refresh,
    replace_file,
    rounded,
)
from binderlet.tasks import Tasks
from support.eventually import eventually


def line(launch: str, timestamp: str, **more: object) -> bytes:
    """One kept launch."""
    event = {"timestamp": timestamp, "provider": "GitHub", "spec": f"o/{launch}/HEAD", "status": "success"} | more
    return json.dumps({"id": launch, "event": event}).encode() + b"\n"


FIRST = line("a", "2027-01-15T08:00:59.999999Z")
SECOND = line("b", "2027-01-15T07:59:00.000000Z")
NEXT_DAY = line("c", "2027-01-16T00:00:00.000000Z")


def read(path: Path) -> list[dict[str, Any]]:
    """Read JSON lines."""
    return [json.loads(one) for one in path.read_text().splitlines()]


def test_times_are_rounded_down_and_in_order() -> None:
    """A time is that of mybinder's archive, to the minute, and lines are in the order of their times."""
    made = [json.loads(one) for one in public_lines([FIRST, SECOND, FIRST, b'{"torn": '])]
    assert [event["timestamp"] for event in made] == ["2027-01-15T07:59:00+00:00", "2027-01-15T08:00:00+00:00"]
    assert "id" not in made[0]
    assert rounded("2027-01-15T08:00:59.999999Z") == "2027-01-15T08:00:00+00:00"


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 59)), max_size=30), st.randoms(use_true_random=False))
def test_each_launch_is_public_once_in_any_order(launches: list[tuple[int, int]], chance: random.Random) -> None:
    """Doubled and shuffled lines make the same public file, and the order in it tells no more than the minutes."""
    kept = [
        line(str(number), f"2027-01-15T08:{number:02}:{second:02}.000000Z") for number, second in dict(launches).items()
    ]
    mixed = kept * 2
    chance.shuffle(mixed)
    assert public_lines(mixed) == public_lines(kept)
    assert len(public_lines(mixed)) == len(kept)


async def test_publishing(tmp_path: Path) -> None:
    """Each day has its file, the index lists them as mybinder's does, and a copy is in the target's folder."""
    public, copy = tmp_path / "public", tmp_path / "copy"
    publisher = Publisher(tmp_path, public, [FolderTarget(copy)])
    await asyncio.to_thread(write_lines, tmp_path, [FIRST, SECOND, NEXT_DAY, FIRST])
    names = ["events-2027-01-15.jsonl", "events-2027-01-16.jsonl", "index.jsonl", "index.html"]
    assert await publisher.publish() == names
    assert read(public / "index.jsonl") == [
        {"name": "events-2027-01-15.jsonl", "date": "2027-01-15", "count": "2"},
        {"name": "events-2027-01-16.jsonl", "date": "2027-01-16", "count": "1"},
    ]
    assert 'href="events-2027-01-16.jsonl"' in (public / "index.html").read_text()
    for name in names:
        assert (copy / name).read_bytes() == (public / name).read_bytes()
    assert publisher.check().ok
    assert publisher.freshness.events == 3


async def test_only_what_changed_is_published_again(tmp_path: Path) -> None:
    """Doing it again sends nothing; a new launch sends its day and the index."""
    publisher = Publisher(tmp_path, tmp_path / "public", [FolderTarget(tmp_path / "copy")])
    await asyncio.to_thread(write_lines, tmp_path, [FIRST, NEXT_DAY])
    await publisher.publish()
    await settle(tmp_path, publisher)
    assert await publisher.publish() == []
    await asyncio.to_thread(write_lines, tmp_path, [SECOND])
    assert await publisher.publish() == ["events-2027-01-15.jsonl", "index.jsonl", "index.html"]


async def settle(folder: Path, publisher: Publisher) -> None:
    """Let files of launches be a while old, as changes within the last second are looked at twice."""

    def age() -> None:
        for path in folder.glob("launches-*.jsonl"):
            os.utime(path, (time.time() - 60, time.time() - 60))

    await asyncio.to_thread(age)
    await publisher.publish()


def test_a_stop_between_a_day_and_the_index_is_mended(tmp_path: Path) -> None:
    """The index counts a day anew whose file is younger than the index."""
    public = tmp_path / "public"
    write_lines(tmp_path, [FIRST])
    refresh(tmp_path, public)
    replace_file(public / "events-2027-01-15.jsonl", b"{}\n{}\n")
    assert known_counts(public) == {"events-2027-01-15.jsonl": 2}
    (public / "index.jsonl").unlink()
    assert known_counts(public) == {"events-2027-01-15.jsonl": 2}


def test_exact_times_of_old_days_are_forgotten(tmp_path: Path) -> None:
    """Two weeks after a day only its public file is left, and it stays as it is."""
    public = tmp_path / "public"
    write_lines(tmp_path, [FIRST])
    old = time.time_ns() - 15 * DAY_NS
    os.utime(tmp_path / "launches-2027-01-15.jsonl", ns=(old, old))
    refresh(tmp_path, public)
    refresh(tmp_path, public)
    refresh(tmp_path, public)
    assert not (tmp_path / "launches-2027-01-15.jsonl").exists()
    assert len(read(public / "events-2027-01-15.jsonl")) == 1


class FailingTarget:
    """A bucket that does not answer, for a while."""

    name = "s3://bucket"

    def __init__(self) -> None:
        self.works = False
        self.files: dict[str, tuple[bytes, str]] = {}

    async def put(self, name: str, body: bytes, content_type: str) -> None:
        """Keep it, if it works."""
        if not self.works:
            raise StoreUnavailable("No answer.")
        self.files[name] = (body, content_type)


async def test_a_target_that_fails_is_told_and_tried_again(tmp_path: Path) -> None:
    """The check says for how long nothing was published; when the target works again, nothing is missing in it."""
    now = 1000.0
    target = FailingTarget()
    publisher = Publisher(tmp_path, tmp_path / "public", [target], every=0.01, clock=lambda: now)
    await asyncio.to_thread(write_lines, tmp_path, [FIRST])
    async with Tasks("test") as tasks:
        tasks.start(publisher.run(), name="publish")
        await eventually(is_true(lambda: not publisher.check().ok))
        first = publisher.freshness
        await eventually(is_true(lambda: publisher.freshness is not first))
        now = 1600.0
        assert publisher.check().message == "Not published for 10 minutes: No answer."
        assert publisher.check().ignore_failure
        target.works = True
        await eventually(is_true(lambda: publisher.check().ok))
        await eventually(is_true(lambda: "index.html" in target.files))
    assert set(target.files) == {"events-2027-01-15.jsonl", "index.jsonl", "index.html"}
    assert target.files["index.html"][1] == "text/html; charset=utf-8"
    assert publisher.freshness.behind(now) == 0


def is_true(look: Callable[[], bool]) -> Callable[[], Any]:
    """Make a look awaitable."""

    async def answer() -> bool:
        return look()

    return answer


async def test_a_disk_that_does_not_work(tmp_path: Path) -> None:
    """An error of the system becomes one of ours."""
    (tmp_path / "public").symlink_to("/proc/nothing")
    with pytest.raises(StoreUnavailable, match="cannot be written"):
        await Publisher(tmp_path, tmp_path / "public").publish()


async def test_a_record_that_is_damaged_sends_all_again(tmp_path: Path) -> None:
    """What a target has is not known then."""
    publisher = Publisher(tmp_path, tmp_path / "public", [FolderTarget(tmp_path / "copy")])
    await asyncio.to_thread(write_lines, tmp_path, [FIRST])
    await settle(tmp_path, publisher)
    (record,) = await asyncio.to_thread(lambda: list(tmp_path.glob("*-published.json")))
    await asyncio.to_thread(record.write_text, "{")
    assert len(await publisher.publish()) == 3


def test_a_file_is_replaced_as_a_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """When writing fails, the file before is still there, and nothing beside it."""
    path = tmp_path / "file"
    replace_file(path, b"before")

    def full(_: int) -> None:
        raise OSError("No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        replace_file(path, b"after")
    assert path.read_bytes() == b"before"
    assert list(tmp_path.iterdir()) == [path]
    assert issubclass(StoreUnavailable, BinderletError)
