"""Handing a text over through a named pipe."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from binderlet.builder.late import hand_over
from binderlet.tasks import Tasks
from support.eventually import eventually


async def known(text: str) -> str:
    """Give a text, after a moment."""
    await asyncio.sleep(0.02)
    return text


async def test_who_waits_gets_it(tmp_path: Path) -> None:
    """Whatever comes first: the pipe, its reader or the text, which may be larger than a pipe holds."""
    text = "é" * 200_000
    async with Tasks("test") as tasks:
        handing = tasks.start(hand_over(tmp_path / "pipe", known(text)), name="hand over")
        await asyncio.sleep(0.05)
        await asyncio.to_thread(os.mkfifo, tmp_path / "pipe")
        await asyncio.sleep(0.05)
        assert not handing.done()
        assert await asyncio.to_thread((tmp_path / "pipe").read_text, encoding="utf-8") == text
        await handing


async def test_a_reader_that_leaves(tmp_path: Path) -> None:
    """Nobody else will read it."""
    pipe = tmp_path / "pipe"
    await asyncio.to_thread(os.mkfifo, pipe)
    reading = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    async with Tasks("test") as tasks:
        handing = tasks.start(hand_over(pipe, known("x" * 200_000)), name="hand over")
        await eventually(lambda: asyncio.to_thread(_has_some, reading))
        os.close(reading)
        await handing


def _has_some(reading: int) -> bool:
    try:
        return bool(os.read(reading, 1))
    except BlockingIOError:
        return False


async def test_a_pipe_that_cannot_be_written(tmp_path: Path) -> None:
    """What is no pipe, but a folder, is an error."""
    with pytest.raises(IsADirectoryError):
        await hand_over(tmp_path, known("x"))


async def test_nobody_reads(tmp_path: Path) -> None:
    """Then it waits until it is cancelled, and leaves nothing behind."""
    await asyncio.to_thread(os.mkfifo, tmp_path / "pipe")
    async with Tasks("test") as tasks:
        handing = tasks.start(hand_over(tmp_path / "pipe", known("x")), name="hand over")
        await asyncio.sleep(0.1)
        assert not handing.done()
    assert handing.cancelled()
