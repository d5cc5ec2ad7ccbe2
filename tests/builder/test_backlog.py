"""Work in the background."""

from __future__ import annotations

import asyncio

from binderlet.builder.backlog import Backlog


async def nothing() -> None:
    """Wait for nothing."""


async def test_one_after_the_other() -> None:
    """Pieces are done in their order, each once; a later one of the same key takes the earlier one's place."""
    done: list[str] = []

    async def do(piece: str) -> None:
        done.append(f"{piece} begins")
        await asyncio.sleep(0)
        done.append(f"{piece} ends")

    backlog = Backlog("test", do, nothing)
    await backlog.wait()
    for key, piece in (("a", "first"), ("b", "other"), ("a", "second")):
        backlog.add(key, piece)
    await backlog.wait()
    assert done == ["second begins", "second ends", "other begins", "other ends"]
    backlog.add("a", "third")
    await backlog.wait()
    assert done[-1] == "third ends"
    await backlog.close()


async def test_not_before() -> None:
    """What has to come first comes first, and what is added meanwhile is done with it."""
    gate, done = asyncio.Event(), []

    async def before() -> None:
        await gate.wait()

    async def do(piece: str) -> None:
        done.append(piece)

    backlog = Backlog("test", do, before)
    backlog.add("a", "first")
    await asyncio.sleep(0)
    backlog.add("a", "second")
    gate.set()
    await backlog.wait()
    assert done == ["second"]


async def test_close() -> None:
    """Closing gives up what has not been done; nobody waits for ever."""
    backlog: Backlog[str] = Backlog("test", lambda _: asyncio.sleep(60), nothing)
    backlog.add("a", "piece")
    await asyncio.sleep(0)
    await backlog.close()
    await backlog.wait()
    await backlog.close()
