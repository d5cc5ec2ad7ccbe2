"""Keeps BinderHub's launch events, version 6, so that none is lost and none counts twice.

An event is in the journal, a memory-mapped file, before anybody hears that the session is ready; soon afterwards it is
in ``launches-YYYY-MM-DD.jsonl``, with its exact time and its launch's id. A crash between the two writes it again, and
the id tells. ``archive_publish`` makes the public files of these. ``launch.v6.json`` is the events' schema. As with
BinderHub, only launches that led to a session are events.
"""

from __future__ import annotations

import asyncio
import errno
import json
import os
import re
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import structlog

from binderlet.errors import StoreUnavailable
from binderlet.events.archive_journal import Journal
from binderlet.events.kinds import Fact, LaunchEnded
from binderlet.events.outbox import Outbox

log = structlog.get_logger(__name__)

SCHEMA_FILE = Path(__file__).with_name("launch.v6.json")
SCHEMA_ID = "binderhub.jupyter.org/launch"
SCHEMA_VERSION = 6
PROVIDERS = frozenset(("GitHub", "Gist", "GitLab", "Git", "Zenodo", "Figshare", "Hydroshare", "Dataverse", "CKAN"))
"""Provider names that the schema allows."""
TIMESTAMP = "%Y-%m-%dT%H:%M:%S.%fZ"

Event = dict[str, Any]


class Archive:
    """The files in ``folder``: ``open`` once, ``listen`` goes on the bus, ``run`` is its task.

    ``origin`` is the name of this service in its events; empty: the host that each launch was asked of. Launches of
    ``provider/spec`` that one of ``private`` matches from its start are no events.
    """

    def __init__(self, folder: Path, *, origin: str = "", private: Sequence[str] = ()) -> None:
        self.folder = folder
        self._origin = origin
        self._private = [re.compile(pattern, re.IGNORECASE) for pattern in private]
        self._journal: Journal | None = None
        self._outbox: Outbox[bytes] = Outbox(self._write, name="launch events")

    @property
    def dropped(self) -> int:
        """Events that were never written because the disk did not work for long."""
        return self._outbox.dropped

    @property
    def waiting(self) -> int:
        """Events that are not yet in a file of launches."""
        return len(self._outbox)

    async def open(self) -> None:
        """Open the journal and queue what an earlier process left in it; without one, a crash may cost events."""
        try:
            self._journal = await asyncio.to_thread(Journal, self.folder / "journal")
        except OSError as error:
            log.warning("a crash may cost launch events", error=str(error), folder=str(self.folder))
            return
        for line in self._journal.lines():
            self._outbox.put(line)

    def listen(self, fact: Fact) -> None:
        """Keep the event of a launch that succeeded; returns at once, and then it is safe from this process's end."""
        if not isinstance(fact, LaunchEnded) or self._is_private(fact):
            return
        if (event := launch_event(fact, self._origin)) is not None:
            line = json.dumps({"id": fact.launch_id, "event": event}, separators=(",", ":")).encode() + b"\n"
            if self._journal is not None:
                self._journal.put(line)
            self._outbox.put(line)

    async def run(self) -> None:
        """Write events as they come, until cancelled; a disk that fails is logged and tried again."""
        await self._outbox.run()

    async def flush(self) -> None:
        """Write all queued events now.

        Raises:
            StoreUnavailable: the file cannot be written; the events stay queued.
        """
        await self._outbox.flush()

    async def close(self) -> None:
        """Write what is queued; what cannot be written stays in the journal. Idempotent."""
        await self._outbox.close()
        if self._journal is not None:
            self._journal.close()
            self._journal = None

    def _is_private(self, fact: LaunchEnded) -> bool:
        return any(pattern.match(str(fact.spec)) for pattern in self._private)

    async def _write(self, lines: list[bytes]) -> None:
        await asyncio.to_thread(write_lines, self.folder, lines)
        # What came meanwhile waits in the outbox, and keeps the journal until it is written too.
        if self._journal is not None and not len(self._outbox):
            self._journal.clear()


def launch_event(fact: LaunchEnded, origin: str = "") -> Event | None:
    """Make the event of a launch; None for one that is none: a failure, a build without session, a private provider."""
    if fact.status != "success" or fact.build_only or fact.commit is None or fact.provider_name not in PROVIDERS:
        return None
    return {
        "timestamp": datetime.fromtimestamp(fact.at, UTC).strftime(TIMESTAMP),
        "schema": SCHEMA_ID,
        "version": SCHEMA_VERSION,
        "provider": fact.provider_name,
        "spec": fact.spec.spec,
        "ref": fact.commit.sha,
        "status": fact.status,
        "build_token": fact.build_token,
        "origin": origin or fact.origin,
        "request_origin": fact.request_origin,
    }


def write_lines(folder: Path, lines: Sequence[bytes]) -> None:
    """Append each line to the file of its event's day, whole or not at all, and onto the disk itself.

    Raises:
        StoreUnavailable: the disk is full, read-only or gone.
    """
    days: dict[str, list[bytes]] = {}
    for line in lines:
        days.setdefault(json.loads(line)["event"]["timestamp"][:10], []).append(line)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for day, written in days.items():
            append(folder / f"launches-{day}.jsonl", b"".join(written))
    except OSError as error:
        raise StoreUnavailable(f"Launch events cannot be written to {folder}: {error}.") from error


def append(path: Path, data: bytes) -> None:
    """Append complete lines and wait for the disk; first remove a torn last line that a crash left behind."""
    with path.open("ab+", buffering=0) as file:
        size = whole_size(path, file.seek(0, os.SEEK_END))
        file.truncate(size)
        written = 0
        try:
            written = file.write(data)
        finally:
            if written != len(data):
                file.truncate(size)
        os.fdatasync(file.fileno())
    if written != len(data):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def whole_size(path: Path, size: int) -> int:
    """Give the size of a file up to its last line end."""
    with path.open("rb") as file:
        file.seek(max(size - 1, 0))
        if size == 0 or file.read(1) == b"\n":
            return size
        file.seek(0)
        whole = file.read().rfind(b"\n") + 1
    log.warning("a torn last line was removed", path=str(path), bytes=size - whole)
    return whole
