"""How large a repository is, and ending work that makes a folder larger than allowed."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, Final, TypeVar

from binderlet.errors import BadRepository

T = TypeVar("T")

MOST_FILES: Final = 1_000_000
"""Files a repository may have: trees can name one file a million times without being large themselves."""
_EVERY: Final = 0.5
"""Seconds between two looks at a growing folder."""


def folder_size(folder: Path, enough: float = float("inf")) -> int:
    """Bytes of all files below a folder (0 when absent), counted until there are ``enough``; links are not followed."""
    total = 0
    waiting = [str(folder)]
    while waiting and total <= enough:
        try:
            with os.scandir(waiting.pop()) as entries:
                for entry in entries:
                    if entry.is_dir(follow_symlinks=False):
                        waiting.append(entry.path)
                    else:
                        total += entry.stat(follow_symlinks=False).st_size
        except FileNotFoundError:  # git moved it away meanwhile
            continue
    return total


def too_large(what: str, limit: int) -> BadRepository:
    """Make the error for a repository above the limit."""
    return BadRepository(
        f"{what} is larger than the {limit / 1024**2:,.0f} MiB that are built here.",
        hint="Keep large data elsewhere and load it when it is needed; operators can raise builder.repository_limit.",
    )


async def within(work: Coroutine[Any, Any, T], folder: Path, limit: int, what: str) -> T:
    """Do the work, but end it when the folder grows by more than ``limit`` bytes.

    Raises:
        BadRepository: it grew too much.
    """
    try:
        async with asyncio.TaskGroup() as group:
            watching = group.create_task(_watch(folder, limit, what), name=f"size of {folder}")
            try:
                return await work
            finally:
                watching.cancel()
    except ExceptionGroup as errors:
        raise errors.exceptions[0] from None


async def _watch(folder: Path, limit: int, what: str) -> None:
    before = await asyncio.to_thread(folder_size, folder)
    while True:
        began = time.monotonic()
        if await asyncio.to_thread(folder_size, folder, before + limit) > before + limit:
            raise too_large(what, limit)
        # a folder of very many files takes long to count: leave the disk to the work most of the time
        await asyncio.sleep(max(_EVERY, 4 * (time.monotonic() - began)))


class TreeSize:
    """Adds up a tree from ``git ls-tree``'s object sizes, one a line, as they come."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._rest = b""
        self.bytes = 0
        self.files = 0

    @property
    def is_too_large(self) -> bool:
        """Whether what was seen so far is above a limit already."""
        return self.bytes > self._limit or self.files > MOST_FILES

    def take(self, chunk: bytes) -> bool:
        """Take some output; returns ``is_too_large``."""
        *lines, self._rest = (self._rest + chunk).split(b"\n")
        self.files += len(lines)
        self.bytes += sum(int(line) for line in lines if line.isdigit())  # a submodule has "-"
        return self.is_too_large
