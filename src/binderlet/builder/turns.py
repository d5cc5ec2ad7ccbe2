"""One does the work at a time; who waits for it reads the log of the one who does."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from binderlet.events.buildlog import BuildLog

POLL = 0.1
"""Seconds between looks for new lines."""


class _Work:
    """What somebody does at this moment."""

    def __init__(self, log: Path) -> None:
        self.log = log
        self.begins: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        """Bytes of the log that were there before."""
        self.is_done = asyncio.Event()


class Turns:
    """A lock whose waiters get the holder's log, from the line on with which it began."""

    def __init__(self, notice: str) -> None:
        self._notice = notice
        self._free = asyncio.Lock()
        self._work: _Work | None = None

    @asynccontextmanager
    async def take(self, log: BuildLog) -> AsyncIterator[None]:
        """Hold it; ``log`` tells what is done meanwhile, and until then what the holder before does."""
        if self._work is not None:
            log.write(self._notice)
            if self._work.log != log.path:
                await _read_along(self._work, log)
        async with self._free:
            self._work = work = _Work(log.path)
            try:
                await log.flush()
                work.begins.set_result(await asyncio.to_thread(_size, log.path))
                yield
                await log.flush()
            finally:
                self._work = None
                work.begins.cancel()
                work.is_done.set()


async def _read_along(work: _Work, log: BuildLog) -> None:
    """Copy lines until the work is done; its log stays where it is for longer than that."""
    await asyncio.wait([work.begins])
    if work.begins.cancelled():
        return
    await log.flush()
    position, is_done = work.begins.result(), False
    while not is_done:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(POLL):
                await work.is_done.wait()
        is_done = work.is_done.is_set()
        position = await asyncio.to_thread(_copy, work.log, log.path, position, to_end=is_done)


def _copy(source: Path, target: Path, position: int, *, to_end: bool) -> int:
    """Append what came after ``position``, whole lines alone; gives the new position."""
    try:
        with source.open("rb") as theirs:
            theirs.seek(position)
            text = theirs.read()
        if to_end and text and not text.endswith(b"\n"):
            text += b"\n"
        text = text[: text.rfind(b"\n") + 1]
        with target.open("ab") as ours:
            ours.write(text)
    except OSError:  # a log that cannot be read or written has said so itself
        return position
    return position + len(text)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:  # as above, and no reason to stop
        return 0
