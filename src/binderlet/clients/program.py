"""Runs a program of this machine for what it prints."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Mapping, Sequence
from pathlib import Path


async def run_program(
    command: Sequence[str],
    *,
    seconds: float | None = None,
    environment: Mapping[str, str] | None = None,
    folder: Path | None = None,
    errors: bool = False,
) -> tuple[int, str]:
    """Run a program to its end; gives its exit code and its output, with ``errors`` what it says of them, too.

    It gets no input. Whatever else ends this call ends the program, and all that it has started.

    Args:
        command: its name or path, and its arguments.
        seconds: how long it may take; None for as long as it likes.
        environment: all of its variables; None for those of this process.
        folder: where it runs; None for where this process does.
        errors: whether its standard error counts.

    Raises:
        OSError: it cannot be started.
        TimeoutError: it took too long.
    """
    process = await asyncio.create_subprocess_exec(
        *command,
        cwd=folder,
        env=environment,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT if errors else asyncio.subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        async with asyncio.timeout(seconds):
            said, _ = await process.communicate()
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            # Reads what is left in the pipe too, so that nothing of it stays open.
            await process.communicate()
    return process.returncode or 0, said.decode("utf-8", "replace")
