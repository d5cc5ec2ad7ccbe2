"""Whoever waits for somebody's work reads along."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from binderlet.builder.turns import Turns
from binderlet.events.buildlog import BuildLog


def log_of(tmp_path: Path, name: str) -> BuildLog:
    """Give a log with one line in it."""
    log = BuildLog(tmp_path / name)
    log.write(f"before {name}")
    return log


async def text_of(log: BuildLog) -> str:
    """Give what a log has."""
    await log.flush()
    return await asyncio.to_thread(log.path.read_text)


async def test_two_wait_and_read_along(tmp_path: Path) -> None:
    """Both get every line of the work, once, and none of what its log had before; the work's own log gets nothing."""
    turns = Turns("Somebody does it:")
    maker, *others = [log_of(tmp_path, name) for name in ("maker", "one", "other")]

    async def wait(log: BuildLog) -> None:
        async with turns.take(log):
            log.write(f"turn of {log.path.name}")

    async with turns.take(maker):
        maker.write("first")
        waiting = [asyncio.gather(wait(log)) for log in others]
        while "first" not in await text_of(others[1]):  # noqa: ASYNC110 - a file sets no event
            await asyncio.sleep(0.01)
        maker.write("last")
        with maker.path.open("a") as file:  # as a program does whose line has not ended
            await asyncio.to_thread(file.write, "unfinished")
    await asyncio.gather(*waiting)
    for log in others:
        text = await text_of(log)
        words = ["before", "Somebody does it:", "first", "last", "unfinished", "turn of"]
        assert [text.count(word) for word in words] == [1, 1, 1, 1, 1, text.count("turn of")]
        assert "before maker" not in text
        assert f"turn of {log.path.name}" in text
    assert "turn of" not in await text_of(maker)


async def test_the_same_log(tmp_path: Path) -> None:
    """Two that write the same log wait for each other without copying it into itself."""
    turns = Turns("Waiting.")
    log = log_of(tmp_path, "log")

    async def work() -> None:
        async with turns.take(log):
            log.write("work")

    await asyncio.gather(work(), work())
    assert (await text_of(log)).count("work") == 2
    assert (await text_of(log)).count("Waiting.") == 1


async def test_work_that_fails(tmp_path: Path) -> None:
    """Who waited has the words of the failure, and then a turn."""
    turns = Turns("Waiting.")
    maker, other = log_of(tmp_path, "maker"), log_of(tmp_path, "other")

    async def fail() -> None:
        async with turns.take(maker):
            maker.write("it broke")
            await asyncio.sleep(0)
            raise ValueError

    async def wait() -> None:
        async with turns.take(other):
            other.write("my turn")

    failed, _ = await asyncio.gather(fail(), wait(), return_exceptions=True)
    assert isinstance(failed, ValueError)
    assert "my turn" in await text_of(other)


async def test_given_up_before_it_began(tmp_path: Path) -> None:
    """Work that is cancelled in its first moment leaves the turn to the next, and nothing to read."""
    turns = Turns("Waiting.")
    maker, other = log_of(tmp_path, "maker"), log_of(tmp_path, "other")

    async def work(log: BuildLog) -> None:
        async with turns.take(log):
            log.write("done")

    first = asyncio.gather(work(maker))
    await asyncio.sleep(0)
    second = asyncio.gather(work(other))
    await asyncio.sleep(0)
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    await second
    assert (await text_of(other)).count("done") == 1


async def test_a_log_that_cannot_be_written(tmp_path: Path) -> None:
    """A full or broken disk is no reason to stop the work, nor to keep others waiting."""
    turns = Turns("Waiting.")
    (tmp_path / "file").touch()
    maker, other = BuildLog(tmp_path / "file" / "log"), log_of(tmp_path, "other")
    async with turns.take(maker):
        waiting = asyncio.gather(_once(turns, other))
        await asyncio.sleep(0.02)
    await waiting
    assert "Waiting." in await text_of(other)


async def _once(turns: Turns, log: BuildLog) -> None:
    async with turns.take(log):
        return
