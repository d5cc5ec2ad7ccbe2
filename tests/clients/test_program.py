"""Programs that are run for what they print."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Coroutine
from pathlib import Path

import pytest

from binderlet.clients.program import run_program
from support.eventually import eventually


@pytest.mark.parametrize(
    ("script", "errors", "said"),
    [
        ("echo out; echo err >&2", False, (0, "out\n")),
        ("echo out; echo err >&2; exit 7", True, (7, "out\nerr\n")),
        ("cat", False, (0, "")),
        ("printf '\\377'", False, (0, "�")),
        ("kill -9 $$", False, (-signal.SIGKILL, "")),
    ],
)
async def test_what_it_says(script: str, errors: bool, said: tuple[int, str]) -> None:  # noqa: FBT001 - a parameter
    """Code and output; there is no input to wait for."""
    assert await run_program(["sh", "-c", script], errors=errors) == said


async def test_where_it_runs(tmp_path: Path) -> None:
    """Its folder and its variables are those that it is given."""
    environment = {"PATH": os.defpath, "NAME": "value"}
    command = ["sh", "-c", "pwd; echo $NAME $HOME"]
    assert await run_program(command, environment=environment, folder=tmp_path) == (0, f"{tmp_path}\nvalue\n")


async def test_no_program() -> None:
    """What is not there cannot be started."""
    with pytest.raises(OSError, match="no-such-program"):
        await run_program(["no-such-program"])


def is_there(pid: int) -> bool:
    """Whether a process runs: one that has ended may wait for somebody to ask for its code."""
    try:
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False


@pytest.mark.parametrize("by", ["time", "cancellation"])
async def test_it_ends_with_all_that_it_started(tmp_path: Path, by: str) -> None:
    """A program that takes too long, or that nobody waits for any more, leaves nothing behind."""
    file = tmp_path / "pid"
    script = f"sleep 60 & echo $! > {file}.new; mv {file}.new {file}; wait"
    async with asyncio.TaskGroup() as group:
        running = group.create_task(ended(run_program(["sh", "-c", script], seconds=3 if by == "time" else None)))
        await eventually(file.exists)
        if by == "cancellation":
            running.cancel()
    child = int(await asyncio.to_thread(file.read_text))
    await eventually(lambda: not is_there(child))


async def ended(running: Coroutine[None, None, tuple[int, str]]) -> None:
    """Wait for the end of a program that takes too long; a cancellation is handed on."""
    with pytest.raises(TimeoutError):
        await running
