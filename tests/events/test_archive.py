"""Launch events in BinderHub's format, version 6: none is lost, none counts twice."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

import jsonschema
import pytest

from binderlet.errors import StoreUnavailable
from binderlet.events.archive import PROVIDERS, SCHEMA_FILE, Archive, append, launch_event, write_lines
from binderlet.events.archive_publish import public_lines
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
LINE = json.dumps({"id": "launch-1", "event": EVENT}).encode() + b"\n"


def events(path: Path) -> list[dict[str, object]]:
    """Read the events of a file of launches."""
    return [json.loads(line)["event"] for line in path.read_text().splitlines()]


def test_a_launch_becomes_an_event_of_version_6() -> None:
    """Every field is as BinderHub writes it, and the schema that is shipped allows it."""
    event = launch_event(LAUNCH_ENDED)
    assert event == EVENT
    jsonschema.Draft7Validator.check_schema(SCHEMA)
    jsonschema.validate(event, SCHEMA)
    assert (launch_event(LAUNCH_ENDED, "2i2c.test") or {})["origin"] == "2i2c.test"


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
    archive.listen(replace(LAUNCH_ENDED, status="failure"))
    archive.listen(replace(LAUNCH_ENDED, at=midnight - 0.000001))
    archive.listen(replace(LAUNCH_ENDED, at=midnight))
    await archive.close()
    names = sorted(path.name for path in (tmp_path / "events").iterdir())
    assert names == ["launches-2027-01-15.jsonl", "launches-2027-01-16.jsonl"]
    (before,) = events(tmp_path / "events" / names[0])
    assert before["timestamp"] == "2027-01-15T23:59:59.999999Z"


async def test_private_repositories_are_not_archived(tmp_path: Path) -> None:
    """A spec that the operator calls private is in no file."""
    archive = Archive(tmp_path, private=["gh/owner/"])
    archive.listen(LAUNCH_ENDED)
    assert archive.waiting == 0
    await archive.close()


async def test_events_are_written_while_the_service_runs(tmp_path: Path) -> None:
    """The background task writes an event soon after it was told, and the journal is empty then."""
    archive = Archive(tmp_path, origin="here.test")
    await archive.open()
    path = tmp_path / f"launches-{DAY}.jsonl"
    async with Tasks("test") as tasks:
        tasks.start(archive.run(), name="archive")
        archive.listen(LAUNCH_ENDED)
        await eventually(lambda: asyncio.to_thread(path.exists))
    await archive.flush()
    assert events(path) == [EVENT | {"origin": "here.test"}]
    assert archive.dropped == 0
    await archive.close()
    await archive.close()
    again = Archive(tmp_path)
    await again.open()
    assert again.waiting == 0
    await again.close()


KILLED = """
import asyncio, os, signal, sys
from dataclasses import replace
from pathlib import Path
from binderlet.events.archive import Archive
from binderlet.tasks import Tasks
from support.facts import LAUNCH_ENDED

async def main():
    archive = Archive(Path(sys.argv[1]))
    await archive.open()
    async with Tasks("test") as tasks:
        tasks.start(archive.run(), name="archive")
        for number in range(300):
            archive.listen(replace(LAUNCH_ENDED, launch_id=f"launch-{number}"))
            await asyncio.sleep(0.002)
        os.kill(os.getpid(), signal.SIGKILL)

asyncio.run(main())
"""


async def test_no_event_is_lost_or_doubled_when_the_process_is_killed(tmp_path: Path) -> None:
    """After ``kill -9`` in the middle of writing, the public lines have each launch exactly once."""
    done = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-c", KILLED, str(tmp_path)],
        env={"PYTHONPATH": ":".join(sys.path)},
        check=False,
    )
    assert done.returncode == -signal.SIGKILL
    archive = Archive(tmp_path)
    await archive.open()
    assert archive.waiting > 0
    await archive.close()
    kept = (tmp_path / f"launches-{DAY}.jsonl").read_bytes().splitlines(keepends=True)
    assert {json.loads(line)["id"] for line in kept} == {f"launch-{number}" for number in range(300)}
    assert len(public_lines([*kept, *kept])) == 300


async def test_without_a_journal_the_archive_still_works(tmp_path: Path) -> None:
    """A disk without room for the journal costs safety, not launches."""
    (tmp_path / "journal").mkdir()
    archive = Archive(tmp_path)
    await archive.open()
    archive.listen(LAUNCH_ENDED)
    await archive.close()
    assert events(tmp_path / f"launches-{DAY}.jsonl") == [EVENT]


@pytest.mark.parametrize("torn", [b'{"timestamp": "20', b"x"], ids=["json", "garbage"])
def test_a_torn_last_line_is_mended(tmp_path: Path, torn: bytes) -> None:
    """What a crash left of a half-written line is removed before the next one is written."""
    path = tmp_path / f"launches-{DAY}.jsonl"
    write_lines(tmp_path, [LINE])
    path.write_bytes(path.read_bytes() + torn)
    write_lines(tmp_path, [LINE])
    assert events(path) == [EVENT, EVENT]


def test_a_file_with_nothing_but_a_torn_line_is_emptied(tmp_path: Path) -> None:
    """The very first line of a day may be torn, too."""
    path = tmp_path / "events.jsonl"
    path.write_bytes(b"torn")
    append(path, b"{}\n")
    assert path.read_bytes() == b"{}\n"


def test_a_full_disk_is_an_unavailable_store(tmp_path: Path) -> None:
    """On a full disk the event is kept for later, with the system's own words for it."""
    (tmp_path / f"launches-{DAY}.jsonl").symlink_to("/dev/full")
    with pytest.raises(StoreUnavailable, match="cannot be written"):
        write_lines(tmp_path, [LINE])


class FullDisk:
    """An open file on a disk that has room for three more bytes."""

    def __init__(self, path: Path) -> None:
        self.file = path.open("ab+", buffering=0)
        self.seek, self.truncate, self.fileno = self.file.seek, self.file.truncate, self.file.fileno

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
        append(path, b'{"a": 1}\n')
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
    assert events(blocked / f"launches-{DAY}.jsonl") == [EVENT]


async def test_what_cannot_be_written_at_the_end_stays_in_the_journal(tmp_path: Path) -> None:
    """A service that ends while the disk is full leaves its events to the next one."""
    archive = Archive(tmp_path)
    await archive.open()
    day = tmp_path / f"launches-{DAY}.jsonl"
    await asyncio.to_thread(day.symlink_to, "/dev/full")
    archive.listen(LAUNCH_ENDED)
    await archive.close()
    await asyncio.to_thread(day.unlink)
    again = Archive(tmp_path)
    await again.open()
    await again.close()
    assert events(day) == [EVENT]
