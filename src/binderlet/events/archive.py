"""Keeps BinderHub's launch events, version 6, as one file of JSON lines per day (UTC).

``launch.v6.json`` is their schema. As with BinderHub, only launches that led to a session are events.
"""

from __future__ import annotations

import asyncio
import errno
import json
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import structlog

from binderlet.errors import StoreUnavailable
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
    """The files ``events-YYYY-MM-DD.jsonl`` in ``folder``; ``listen`` goes on the bus, ``run`` is its task."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._outbox: Outbox[Event] = Outbox(self._write, name="launch events", batch=1)

    @property
    def dropped(self) -> int:
        """Events that were never written because the disk did not work for long."""
        return self._outbox.dropped

    def listen(self, fact: Fact) -> None:
        """Queue the event of a launch that succeeded; returns at once."""
        if isinstance(fact, LaunchEnded) and (event := launch_event(fact)) is not None:
            self._outbox.put(event)

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
        """Write what is queued. Idempotent."""
        await self._outbox.close()

    async def _write(self, events: list[Event]) -> None:
        for event in events:
            await asyncio.to_thread(write_event, self.folder, event)


def launch_event(fact: LaunchEnded) -> Event | None:
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
        "origin": fact.origin,
        "request_origin": fact.request_origin,
    }


def write_event(folder: Path, event: Event) -> None:
    """Append an event to the file of its day, whole or not at all.

    Raises:
        StoreUnavailable: the disk is full, read-only or gone.
    """
    day = event["timestamp"][:10]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        append_line(folder / f"events-{day}.jsonl", json.dumps(event).encode() + b"\n")
    except OSError as error:
        raise StoreUnavailable(f"Launch events cannot be written to {folder}: {error}.") from error


def append_line(path: Path, line: bytes) -> None:
    """Append a complete line; first remove a torn last line that a crash left behind."""
    with path.open("ab+", buffering=0) as file:
        size = whole_size(path, file.seek(0, os.SEEK_END))
        file.truncate(size)
        written = 0
        try:
            written = file.write(line)
        finally:
            if written != len(line):
                file.truncate(size)
    if written != len(line):
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
