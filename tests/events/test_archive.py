"""Launch events in BinderHub's archive format, version 6."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

import jsonschema
import pytest

from binderlet.errors import StoreUnavailable
from binderlet.events.archive import PROVIDERS, SCHEMA_FILE, Archive, append_line, launch_event, write_event
from binderlet.tasks import Tasks
from support.eventually import eventually
from support.facts import LAUNCH_ENDED, LAUNCH_STARTED, NOW
from support.values import SHA

SCHEMA = json.loads(SCHEMA_FILE.read_text())
DAY = "2027-01-15"
EVENT = {
    "timestamp": "2027-01-15T08:00:05.000000Z",
    "schema": "binderhub.jupyter.org/launch",
    "version": 6,
    "provider": "GitHub",
    "spec": "owner/repo/HEAD",
    "ref": SHA,
    "status": "success",
    "build_token": True,
    "origin": "binder.test",
    "request_origin": "https://page.test",
}


def lines(path: Path) -> list[dict[str, object]]:
    """Read a file of JSON lines."""
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_launch_becomes_an_event_of_version_6() -> None:
    """Every field is as BinderHub writes it, and the schema that is shipped allows it."""
    event = launch_event(LAUNCH_ENDED)
    assert event == EVENT
    jsonschema.Draft7Validator.check_schema(SCHEMA)
    jsonschema.validate(event, SCHEMA)


def test_the_schema_and_the_code_know_the_same_providers() -> None:
    """A provider that the schema does not allow never gets into the archive."""
    assert set(SCHEMA["properties"]["provider"]["enum"]) == PROVIDERS


@pytest.mark.parametrize(
    "change",
    [
        {"status": "failure"},
        {"status": "pod_quota"},
        {"build_only": True},
        {"commit": None},
        {"provider_name": "Fake"},
    ],
    ids=str,
)
def test_only_launches_that_led_to_a_session_are_events(change: dict[str, Any]) -> None:
    """Failures, builds without a session and private providers are not archived."""
    assert launch_event(replace(LAUNCH_ENDED, **change)) is None


async def test_each_day_has_its_file(tmp_path: Path) -> None:
    """An event goes to the file of the day it happened on, also when it is written after midnight."""
    archive = Archive(tmp_path / "events")
    midnight = NOW - NOW % 86400 + 86400
    archive.listen(LAUNCH_STARTED)
    archive.listen(replace(LAUNCH_ENDED, at=midnight - 0.000001))
    archive.listen(replace(LAUNCH_ENDED, at=midnight))
    await archive.close()
    names = sorted(path.name for path in (tmp_path / "events").iterdir())
    assert names == ["events-2027-01-15.jsonl", "events-2027-01-16.jsonl"]
    (before,) = lines(tmp_path / "events" / names[0])
    assert before["timestamp"] == "2027-01-15T23:59:59.999999Z"


async def test_events_are_written_while_the_service_runs(tmp_path: Path) -> None:
    """The background task writes an event soon after it was told."""
    archive = Archive(tmp_path)
    path = tmp_path / f"events-{DAY}.jsonl"
    async with Tasks("test") as tasks:
        tasks.start(archive.run(), name="archive")
        archive.listen(LAUNCH_ENDED)
        await eventually(lambda: asyncio.to_thread(path.exists))
    await archive.flush()
    assert lines(path) == [EVENT]
    assert archive.dropped == 0


@pytest.mark.parametrize("torn", [b'{"timestamp": "20', b"x"], ids=["json", "garbage"])
def test_a_torn_last_line_is_mended(tmp_path: Path, torn: bytes) -> None:
    """What a crash left of a half-written line is removed before the next one is written."""
    path = tmp_path / f"events-{DAY}.jsonl"
    write_event(tmp_path, EVENT)
    path.write_bytes(path.read_bytes() + torn)
    write_event(tmp_path, EVENT)
    assert lines(path) == [EVENT, EVENT]


def test_a_file_with_nothing_but_a_torn_line_is_emptied(tmp_path: Path) -> None:
    """The very first line of a day may be torn, too."""
    path = tmp_path / "events.jsonl"
    path.write_bytes(b"torn")
    append_line(path, b"{}\n")
    assert path.read_bytes() == b"{}\n"


def test_a_full_disk_is_an_unavailable_store(tmp_path: Path) -> None:
    """On a full disk the event is kept for later, with the system's own words for it."""
    (tmp_path / f"events-{DAY}.jsonl").symlink_to("/dev/full")
    with pytest.raises(StoreUnavailable, match="cannot be written"):
        write_event(tmp_path, EVENT)


class FullDisk:
    """An open file on a disk that has room for three more bytes."""

    def __init__(self, path: Path) -> None:
        self.file = path.open("ab+", buffering=0)
        self.seek, self.truncate = self.file.seek, self.file.truncate

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.file.close()

    def write(self, data: bytes) -> int:
        """Write what fits."""
        return self.file.write(data[:3])


def test_a_half_written_line_is_taken_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the system takes only a part of the line, the part is removed and the error told."""
    path = tmp_path / "events.jsonl"
    path.write_bytes(b"{}\n")
    disk, original = FullDisk(path), Path.open

    def fake_open(self: Path, mode: str = "r", *args: Any, **options: Any) -> Any:  # noqa: ANN401 - as Path.open
        return disk if mode == "ab+" else original(self, mode, *args, **options)

    monkeypatch.setattr(Path, "open", fake_open)
    with pytest.raises(OSError, match="No space left"):
        append_line(path, b'{"a": 1}\n')
    assert path.read_bytes() == b"{}\n"


async def test_a_folder_that_cannot_be_made_keeps_the_events_queued(tmp_path: Path) -> None:
    """The service goes on; the events are written once the disk works again."""
    blocked = tmp_path / "events"
    await asyncio.to_thread(blocked.write_text, "a file where the folder should be")
    archive = Archive(blocked)
    archive.listen(LAUNCH_ENDED)
    with pytest.raises(StoreUnavailable, match="cannot be written"):
        await archive.flush()
    await asyncio.to_thread(blocked.unlink)
    await archive.close()
    assert lines(blocked / f"events-{DAY}.jsonl") == [EVENT]
