"""The log of one build: a file that is written before it is shown, so that no line shown is ever lost.

Build tools append to the file themselves, so their output survives the control plane; readers follow the file.
A line that starts with ``{"phase"`` is ours and carries its phase; every other line is the build tool's.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

from binderlet.events.kinds import LaunchEvent
from binderlet.model import Phase

POLL = 0.05
"""Seconds between looks at the file while a build runs: what a viewer may wait for a line."""
OURS = b'{"phase"'
OUR_PHASES = {Phase.FETCHING, Phase.BUILDING, Phase.WAITING}


class BuildLog:
    """An append-only log in ``path``; ``finish`` ends it for all who follow it."""

    def __init__(self, path: Path, *, limit: int = 16 * 1024**2) -> None:
        self.path = path
        self.limit = limit
        self._finished = asyncio.Event()
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()

    def write(self, message: str, phase: Phase = Phase.BUILDING) -> None:
        """Append one line of our own."""
        line = json.dumps({"phase": str(phase), "message": message.rstrip("\n")}, ensure_ascii=False)
        with self.path.open("a", encoding="utf-8") as file:
            file.write(line + "\n")

    def finish(self) -> None:
        """Say that nothing more will come. Idempotent."""
        self._finished.set()

    async def follow(self) -> AsyncIterator[LaunchEvent]:
        """Yield every line from the first on as an event, until the log is finished and read to its end."""
        with self.path.open("rb") as file:
            shown = 0
            rest = b""
            while True:
                last = self._finished.is_set()
                while chunk := file.read(65536):
                    *lines, rest = (rest + chunk).split(b"\n")
                    for line in lines:
                        shown += len(line) + 1
                        if shown <= self.limit:
                            yield parse_line(line)
                if last:
                    break
                await asyncio.wait([asyncio.ensure_future(self._finished.wait())], timeout=POLL)
            if rest:
                yield parse_line(rest)


def parse_line(line: bytes) -> LaunchEvent:
    """Make a line of the file an event; a build tool's line that only looks like ours cannot claim other phases."""
    text = line.decode("utf-8", "replace")
    if line.startswith(OURS):
        try:
            body = json.loads(text)
            phase = Phase(body["phase"])
            message = str(body["message"])
        except (ValueError, KeyError, TypeError):
            return LaunchEvent(Phase.BUILDING, text + "\n")
        if phase in OUR_PHASES:
            return LaunchEvent(phase, message + "\n")
    return LaunchEvent(Phase.BUILDING, text + "\n")
