"""A file of a build that is still being made when the build tool starts: a named pipe, which the tool waits at.

The tool takes a moment to come to the step that wants the file. Who makes it has that time for nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
from collections.abc import Awaitable
from pathlib import Path

POLL = 0.004
"""Seconds between looks for the reader, at first."""
SLOWEST = 0.05


async def hand_over(pipe: Path, text: Awaitable[str]) -> None:
    """Write a text into a pipe, once it is known and somebody reads there, and hang up.

    Both the pipe and its reader may appear later, or never: then this waits until it is cancelled.
    """
    known = await text
    pause = POLL
    while not await asyncio.to_thread(_write, pipe, known):
        await asyncio.sleep(pause)
        pause = min(SLOWEST, 1.1 * pause)


def _write(pipe: Path, text: str) -> bool:
    try:
        writing = os.open(pipe, os.O_WRONLY | os.O_NONBLOCK)
    except FileNotFoundError:
        return False
    except OSError as error:
        if error.errno == errno.ENXIO:  # nobody reads
            return False
        raise
    os.set_blocking(writing, True)
    with contextlib.suppress(BrokenPipeError), os.fdopen(writing, "wb") as file:  # or the reader was ended
        file.write(text.encode())
    return True
