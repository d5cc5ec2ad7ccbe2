"""Takes archives of launches into the statistics: a folder of daily files, or the URL of a published archive.

Files that were taken in before and have not changed are left alone, so it may be cut off and run again at any time.
Lines are counted by as many processes as there are cores; a file's counts are stored as a whole.
"""

from __future__ import annotations

import asyncio
import gzip
import io
import json
import multiprocessing
import os
import time
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ProcessPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from itertools import islice
from pathlib import Path
from typing import BinaryIO, cast
from urllib.parse import urljoin, urlsplit

import aiohttp

from binderlet.dashboard.reading import Reader
from binderlet.dashboard.store import StatisticsStore
from binderlet.dashboard.tallies import NO_MEMBER, Tallies
from binderlet.errors import ArchiveUnavailable

SMALL = 30_000_000
"""Bytes up to which this process alone is as fast as several, which must be started."""
AHEAD = 8
"""Files read or counted ahead: bounds the memory."""
TRIES = 4
PAUSE = 0.5
"""Seconds before the second try; twice as long before each further one."""
TIMEOUT = aiohttp.ClientTimeout(total=600, sock_connect=20, sock_read=60)
GZIP = b"\x1f\x8b"

Content = Path | bytes


@dataclass(frozen=True, slots=True)
class Progress:
    """How far an import is."""

    files: int
    """Files that are done, those that had not changed included."""
    of: int
    unchanged: int
    events: int
    skipped: int
    """Lines that are no launch events."""
    seconds: float


Tell = Callable[[Progress], None]
Count = Callable[[Content, str], Awaitable[tuple[Tallies, int]]]


@dataclass(frozen=True, slots=True)
class _File:
    name: str
    version: str
    size: int
    read: Callable[[], Awaitable[Content]]


async def import_archive(
    source: str, store: StatisticsStore, *, tell: Tell, member: str = NO_MEMBER, workers: int = 0, newest: int = 0
) -> Progress:
    """Take in what is new in an archive, and give what was done; ``member`` is that of events that name none.

    With ``newest`` only so many of the files with the last names are looked at.

    Raises:
        ArchiveUnavailable: the archive, or one of its files, cannot be read; what was taken in so far stays.
        StoreUnavailable: the statistics cannot be written.
    """
    began = time.monotonic()
    async with _files(source) as (name, listed):
        files = sorted(listed, key=lambda file: file.name)[-newest:]  # all of them for 0
        known = await asyncio.to_thread(store.versions, name)
        changed = [file for file in files if known.get(file.name) != file.version]
        unchanged = len(files) - len(changed)
        progress = Progress(unchanged, len(files), unchanged, 0, 0, 0.0)
        tell(progress)
        small = sum(file.size for file in changed) < SMALL
        async with (
            _held(store),
            counters(1 if small else workers or len(os.sched_getaffinity(0)), alone=small) as count,
        ):
            async for file, tallies, skipped in _count_all(changed, count, member):
                events = await asyncio.to_thread(store.take, name, file.name, file.version, tallies, skipped)
                progress = replace(
                    progress,
                    files=progress.files + 1,
                    events=progress.events + events,
                    skipped=progress.skipped + skipped,
                    seconds=time.monotonic() - began,
                )
                tell(progress)
    return progress


@asynccontextmanager
async def _held(store: StatisticsStore) -> AsyncIterator[None]:
    """Keep the statistics open while many files are taken in."""
    held = await asyncio.to_thread(store.hold)
    try:
        yield
    finally:
        await asyncio.to_thread(held.close)


@asynccontextmanager
async def counters(workers: int, *, alone: bool) -> AsyncIterator[Count]:
    """Give what counts files, so many at a time: a thread of this process, or processes that know nothing of it."""
    turns = asyncio.Semaphore(workers)
    if alone:
        pool = None
    else:
        spawn = multiprocessing.get_context("spawn")
        pool = await asyncio.to_thread(ProcessPoolExecutor, workers, mp_context=spawn)

    async def count(content: Content, member: str) -> tuple[Tallies, int]:
        async with turns:
            if pool is None:
                return await asyncio.to_thread(count_content, content, member)
            return await asyncio.to_thread(lambda: pool.submit(count_content, content, member).result())

    try:
        yield count
    finally:
        if pool is not None:
            await asyncio.to_thread(pool.shutdown, cancel_futures=True)


async def _count_all(files: list[_File], count: Count, member: str) -> AsyncIterator[tuple[_File, Tallies, int]]:
    """Read and count files, some ahead of what is taken in, and yield them as they come."""

    async def one(file: _File) -> tuple[_File, Tallies, int]:
        tallies, skipped = await count(await file.read(), member)
        return file, tallies, skipped

    left = iter(files)
    ahead = deque(asyncio.gather(one(file)) for file in islice(left, AHEAD))
    try:
        while ahead:
            (counted,) = await ahead.popleft()
            ahead.extend(asyncio.gather(one(file)) for file in islice(left, 1))
            yield counted
    finally:
        # The first error ends it all; what was under way is not left behind.
        for each in ahead:
            each.cancel()
        await asyncio.gather(*ahead, return_exceptions=True)


def count_content(content: Content, member: str) -> tuple[Tallies, int]:
    """Count a file, packed or plain; gives the number of lines that are no events, too."""
    reader = _reader(member)
    before = reader.skipped
    with _opened(content) as lines:
        tallies = reader.read(lines)
    return tallies, reader.skipped - before


@lru_cache(maxsize=1)
def _reader(member: str) -> Reader:
    """Keep one per process: what it learns of one day helps with the next."""
    return Reader(member)


def _opened(content: Content) -> BinaryIO:
    if isinstance(content, bytes):
        raw = io.BytesIO(content)
        return cast("BinaryIO", gzip.GzipFile(fileobj=raw)) if content.startswith(GZIP) else raw
    with content.open("rb") as file:
        is_packed = file.read(2) == GZIP
    return cast("BinaryIO", gzip.open(content)) if is_packed else content.open("rb", buffering=1024**2)


@asynccontextmanager
async def _files(source: str) -> AsyncIterator[tuple[str, list[_File]]]:
    """Give a source's lasting name and its files."""
    if urlsplit(source).scheme in {"http", "https"}:
        async with aiohttp.ClientSession(timeout=TIMEOUT, trust_env=True) as session:
            yield source.removesuffix("index.jsonl").rstrip("/"), await _listed(session, source)
    else:
        folder = await asyncio.to_thread(lambda: Path(source).expanduser().resolve())
        yield str(folder), await asyncio.to_thread(local_files, folder)


def local_files(folder: Path) -> list[_File]:
    """List the daily files of a folder, or one file.

    Raises:
        ArchiveUnavailable: there are none.
    """
    if folder.is_file():
        paths = [folder]
    else:
        paths = sorted({*folder.glob("events-*.jsonl"), *folder.glob("events-*.jsonl.gz")})
    if not paths:
        raise ArchiveUnavailable(f"There are no files events-YYYY-MM-DD.jsonl in {folder}.")
    files = []
    for path in paths:
        state = path.stat()
        files.append(_File(path.name, f"{state.st_size}-{state.st_mtime_ns}", state.st_size, partial(_at, path)))
    return files


async def _at(path: Path) -> Content:
    return path


async def _listed(session: aiohttp.ClientSession, url: str) -> list[_File]:
    """List what an archive's index names; an index's count of a day's launches is the version of its file."""
    if url.endswith((".jsonl", ".jsonl.gz")) and not url.endswith("/index.jsonl"):
        return [_File(url.rpartition("/")[2], "", 0, partial(_download, session, url))]
    base = url.removesuffix("index.jsonl").rstrip("/") + "/"
    files = []
    for line in (await _download(session, urljoin(base, "index.jsonl"))).splitlines():
        try:
            entry = json.loads(line)
            name, count = str(entry["name"]), int(entry["count"])
        except (ValueError, KeyError, TypeError) as error:
            raise ArchiveUnavailable(f"{base}index.jsonl is no index of an archive: {line[:80]!r}.") from error
        files.append(_File(name, str(count), count * 250, partial(_download, session, urljoin(base, name))))
    return files


async def _download(session: aiohttp.ClientSession, url: str) -> bytes:
    """Get a file; a server that is overloaded or cut off is asked again."""
    for attempt in range(TRIES):
        try:
            async with session.get(url) as response:
                if response.status < 500:  # noqa: PLR2004 - what asking again may mend
                    response.raise_for_status()
                    return await response.read()
                problem = f"it answered {response.status}"
        except aiohttp.ClientResponseError as error:
            raise ArchiveUnavailable(f"{url} cannot be read: it answered {error.status}.") from error
        except (aiohttp.ClientError, TimeoutError) as error:
            problem = str(error) or type(error).__name__
        await asyncio.sleep(PAUSE * 2**attempt)
    raise ArchiveUnavailable(f"{url} cannot be read: {problem}.")
