"""The log of one build: a file that is written before it is shown, so that no line shown is ever lost.

Build tools append to the file themselves, so their output survives the control plane; one reader per build
follows the file. A line that starts with ``{"phase"`` is ours and carries its phase; every other line is the
build tool's. Every disk access happens in a thread.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import threading
from collections import deque
from collections.abc import AsyncIterator
from pathlib import Path

import structlog

from binderlet.errors import StoreUnavailable
from binderlet.events.kinds import LaunchEvent
from binderlet.model import Phase

log = structlog.get_logger(__name__)

POLL = 0.05
"""Seconds between looks at the file while a build runs: what a viewer may wait for a line."""
CHUNK = 256 * 1024
LONGEST_LINE = 64 * 1024
"""Bytes after which a line is shown though it has not ended."""
TAIL_LINES = 100
"""Last lines that are shown of what came after the limit: the error is usually there."""
TAIL_ROOM = 256 * 1024
"""Bytes that these may take beyond the limit."""
LONGEST_TAIL_LINE = TAIL_ROOM // TAIL_LINES // 2
CUT_EVERY = 4 * 1024**2
"""Bytes beyond the limit that the file may have while a build runs."""
OURS = b'{"phase"'
OUR_PHASES = {Phase.FETCHING, Phase.BUILDING, Phase.WAITING}
# Control characters that do harm in a terminal; tab and escape (colours) stay.
UNPRINTABLE = {code: None for code in range(32) if code not in {0x09, 0x1B}} | {0x7F: None}


class BuildLog:
    """An append-only log in ``path``; ``finish`` ends it for its reader.

    Other processes may append too, with ``O_APPEND``; after ``flush`` the file is there for them. Beyond ``limit``
    bytes lines are dropped, but for the last ones, and the file is cut, so that a build cannot fill the disk.
    """

    def __init__(self, path: Path, *, limit: int = 16 * 1024**2) -> None:
        self.path = path
        self.limit = limit
        self._finished = False
        self._failed = False
        self._news = asyncio.Event()
        self._pending: deque[bytes] = deque()
        self._one_writer = threading.Lock()
        self._writing: asyncio.Future[None] | None = None

    def write(self, message: str, phase: Phase = Phase.BUILDING, *, number: int = 0) -> None:
        """Append one line of our own, soon; lines keep their order. Outside the event loop, at once.

        ``number`` is what it has in the log of who said it, for whoever goes on reading there; only the file has it.
        """
        body: dict[str, object] = {"phase": str(phase), "message": message.rstrip("\n")}
        if number:
            body["number"] = number
        self._pending.append(json.dumps(body).encode() + b"\n")
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            self._append_pending()
        else:
            if self._writing is None:
                self._start_writing(loop)

    async def flush(self) -> None:
        """Return once the file exists and holds all that was written before this call."""
        await asyncio.to_thread(self._append_pending)

    def finish(self) -> None:
        """Say that nothing more will come. Idempotent."""
        self._finished = True
        self._news.set()

    async def follow(self) -> AsyncIterator[LaunchEvent]:
        """Yield every line from the first on as an event, until the log is finished and read to its end.

        Raises:
            StoreUnavailable: the file cannot be read or made.
        """
        await self.flush()
        reader = await asyncio.to_thread(_Reader, self.path, self.limit)
        try:
            last = False
            while not last:
                last = self._finished
                if last:
                    await self.flush()
                while lines := await asyncio.to_thread(reader.read):
                    for line in lines:
                        yield parse_line(line)
                if not last:
                    await self._wait()
            for line in await asyncio.to_thread(reader.end):
                yield parse_line(line)
        finally:
            await asyncio.to_thread(reader.close)

    async def _wait(self) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(POLL):
                await self._news.wait()
                self._news.clear()

    def _start_writing(self, loop: asyncio.AbstractEventLoop) -> None:
        self._writing = loop.run_in_executor(None, self._append_pending)
        self._writing.add_done_callback(self._written)

    def _written(self, done: asyncio.Future[None]) -> None:
        self._writing = None
        self._news.set()
        if self._pending:
            self._start_writing(done.get_loop())

    def _append_pending(self) -> None:
        with self._one_writer:
            lines = b"".join(self._pending.popleft() for _ in range(len(self._pending)))
            try:
                self.path.parent.mkdir(parents=True, exist_ok=True)
                with self.path.open("ab") as file:
                    file.write(lines)
            except OSError as error:
                if not self._failed:
                    log.warning("a build's log cannot be written", path=str(self.path), error=str(error))
                self._failed = True


class _Reader:
    """Reads whole lines up to a limit, then remembers only the last ones. Its methods take turns among threads."""

    def __init__(self, path: Path, limit: int) -> None:
        try:
            self._fd = os.open(path, os.O_RDWR | os.O_APPEND)
        except OSError as error:
            raise StoreUnavailable(f"The build log {path} cannot be read: {error}.") from error
        size = os.fstat(self._fd).st_size
        # A log that was cut and ended before is a little larger than the limit, and is shown whole.
        self._limit = max(limit, size) if size <= limit + TAIL_ROOM else limit
        self._turn = threading.Lock()
        self._kept = 0
        self._dropped = 0
        self._rest = b""
        self._tail: deque[bytes] = deque(maxlen=TAIL_LINES)

    def read(self) -> list[bytes]:
        """Give the next lines that may be shown; empty once there is nothing more for now."""
        with self._turn:
            shown: list[bytes] = []
            while not shown and (chunk := os.read(self._fd, CHUNK)):
                *lines, self._rest = (self._rest + chunk).split(b"\n")
                shown = [line for line in lines if self._keep(line, len(line) + 1)]
                if len(self._rest) > LONGEST_LINE:
                    if self._keep(self._rest, len(self._rest)):
                        shown.append(self._rest)
                    self._rest = b""
                if self._dropped:
                    self._cut(slack=CUT_EVERY)
            return shown

    def end(self) -> list[bytes]:
        """Give what is left: a last line without line end, or how much was dropped and the last lines of it."""
        with self._turn:
            last, self._rest = self._rest, b""
            if last and self._keep(last, len(last)):
                return [last]
            if not self._dropped:
                return []
            self._cut()
            notice = f"[{self._dropped} bytes of the log are not kept; its last lines were:]"
            lines = [json.dumps({"phase": "building", "message": notice}).encode(), *self._tail]
            os.write(self._fd, b"".join(line + b"\n" for line in lines))
            return lines

    def close(self) -> None:
        with self._turn:
            os.close(self._fd)

    def _keep(self, line: bytes, size: int) -> bool:
        if not self._dropped and self._kept + size <= self._limit:
            self._kept += size
            return True
        self._dropped += size
        self._tail.append(line[:LONGEST_TAIL_LINE])
        return False

    def _cut(self, slack: int = 0) -> None:
        """Cut the file where it holds more than ``slack`` bytes that are not kept; see the last of those not read."""
        size = os.fstat(self._fd).st_size
        if size - self._kept <= slack:
            return
        unread = size - os.lseek(self._fd, 0, os.SEEK_CUR)
        if unread > 0:
            end = os.pread(self._fd, min(unread, TAIL_ROOM // 2), max(size - TAIL_ROOM // 2, size - unread))
            *lines, rest = end.split(b"\n")
            self._tail.extend(line[:LONGEST_TAIL_LINE] for line in lines)
            self._dropped += len(self._rest) + unread - len(rest)
            self._rest = rest
        os.ftruncate(self._fd, self._kept)
        os.lseek(self._fd, self._kept, os.SEEK_SET)


def parse_line(line: bytes) -> LaunchEvent:
    """Make a line of the file an event; a build tool's line that only looks like ours cannot claim other phases."""
    text = line.decode("utf-8", "replace")
    if line.startswith(OURS):
        try:
            body = json.loads(text)
            phase = Phase(body["phase"])
            message = str(body["message"])
        except (ValueError, KeyError, TypeError, RecursionError):
            return LaunchEvent(Phase.BUILDING, printable(text) + "\n")
        if phase in OUR_PHASES:
            return LaunchEvent(phase, message + "\n")
    return LaunchEvent(Phase.BUILDING, printable(text) + "\n")


def printable(text: str) -> str:
    """Give a line as a terminal shows it in the end: after its last carriage return, without control characters."""
    return text.rstrip("\r").rpartition("\r")[2].translate(UNPRINTABLE)
