"""What is known of the images in the registry."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from pathlib import Path

import pytest

from binderlet.images.transfer_record import HALF_LIFE, UNKNOWN_BUILD, Entry, Record

STORED = Entry("a:1", "sha256:1", "sha256:2", size=2**20, stored_at=5.0, build_seconds=30.0)


@pytest.fixture
def record(tmp_path: Path) -> Record:
    """An empty one."""
    return Record(tmp_path / "folder" / "record.json")


async def test_kept_on_disk(record: Record) -> None:
    """What was saved is known to the next process; what is not stored is not taken for stored."""
    record.put(STORED)
    record.put(STORED)
    record.launched("b:1", 10.0)
    await record.save()
    await record.save()
    other = Record(record._path)
    await other.load()
    assert other.get("a:1") == STORED
    assert other.is_stored("a:1")
    assert not other.is_stored("b:1")
    assert other.get("b:1").launches == 1
    assert not other.get("never").image_id
    other.forget("a:1")
    assert not other.is_stored("a:1")
    assert other.get("a:1").build_seconds == 30


@pytest.mark.parametrize("text", ["", "{", "[]", '{"images": [{"size": 1}]}', '{"images": 5}'])
async def test_an_unreadable_file_is_nothing(record: Record, text: str) -> None:
    """A file that makes no sense is as good as none: the registry is asked."""
    await asyncio.to_thread(record._path.parent.mkdir)
    await asyncio.to_thread(record._path.write_text, text)
    await record.load()
    assert list(record.entries()) == []


async def test_a_full_disk_loses_nothing(record: Record, tmp_path: Path) -> None:
    """What could not be written is written the next time."""
    await asyncio.to_thread((tmp_path / "folder").write_text, "in the way")
    record.put(STORED)
    await record.save()
    await asyncio.to_thread((tmp_path / "folder").unlink)
    await record.save()
    other = Record(record._path)
    await other.load()
    assert other.is_stored("a:1")


def test_launches_fade(record: Record) -> None:
    """A launch counts half after the half-life, and makes an image more valuable."""
    record.put(STORED)
    record.launched("a:1", 0.0)
    record.launched("a:1", HALF_LIFE)
    entry = record.get("a:1")
    assert entry.popularity(HALF_LIFE) == pytest.approx(1.5)
    assert entry.popularity(2 * HALF_LIFE) == pytest.approx(0.75)
    assert entry.value(HALF_LIFE) > STORED.value(HALF_LIFE)
    assert replace(entry, size=2**30).value(0) < entry.value(0)


def test_usual_build(record: Record) -> None:
    """The median of the known builds stands for the unknown ones."""
    assert record.usual_build() == UNKNOWN_BUILD
    for number, seconds in enumerate((5.0, 50.0, 500.0, 0.0)):
        record.put(Entry(f"i:{number}", build_seconds=seconds))
    assert record.usual_build() == 50


def test_other_machines(record: Record) -> None:
    """What another machine pushed is known after a merge, with the launches of whoever saw the last one."""
    record.launched("a:1", 100.0)
    other = Record(record._path)
    other.put(replace(STORED, launches=9, launched_at=50.0))
    other.put(Entry("local:1", launches=3))
    record.merge(other.document())
    assert record.is_stored("a:1")
    assert record.get("a:1").launches == 1
    assert "local:1" not in {entry.name for entry in record.entries()}
    record.merge(json.dumps({"images": [{"name": "a:1", "image_id": "x", "new key": 1}]}).encode())
    assert record.get("a:1").image_id == "sha256:1"
    record.merge(b"nonsense")
