"""Background tasks: named, owned, awaited at shutdown."""

from __future__ import annotations

import asyncio

import pytest
from structlog.testing import capture_logs

from binderlet.tasks import Tasks


async def nothing() -> int:
    """Work that is done at once."""
    return 7


async def failing() -> None:
    """Work that fails."""
    raise ValueError("broken")


async def test_name_and_result() -> None:
    """A task has its owner and name, and its result can be awaited."""
    async with Tasks("owner") as tasks:
        task = tasks.start(nothing(), name="seven")
        assert task.get_name() == "owner: seven"
        assert len(tasks) == 1
        assert await task == 7
        await asyncio.sleep(0)
        assert len(tasks) == 0


async def test_failure_is_logged() -> None:
    """A task that fails is logged with its name, and the others go on."""
    async with Tasks("owner") as tasks:
        waiting = tasks.start(asyncio.sleep(60), name="waiting")
        with capture_logs() as logs:
            failed = tasks.start(failing(), name="doomed")
            await asyncio.wait([failed])
            await asyncio.sleep(0)
        assert [(line["event"], line["task"]) for line in logs] == [("task failed", "owner: doomed")]
        assert isinstance(logs[0]["exc_info"], ValueError)
        assert not waiting.done()


async def test_close_cancels_and_waits() -> None:
    """Closing cancels what runs and returns only when it has ended, cleanup included."""
    cleaned = []

    async def work() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            await asyncio.sleep(0.01)
            cleaned.append(True)

    tasks = Tasks("owner")
    task = tasks.start(work(), name="work")
    await asyncio.sleep(0)
    await tasks.close()
    assert task.cancelled()
    assert cleaned == [True]
    await tasks.close()


async def test_cancelling_is_no_failure() -> None:
    """A cancelled task is not logged as a failure."""
    with capture_logs() as logs:
        async with Tasks("owner") as tasks:
            tasks.start(asyncio.sleep(60), name="waiting")
            await asyncio.sleep(0)
    assert logs == []


async def test_no_start_after_close() -> None:
    """A closed owner starts nothing more, and leaves no coroutine that was never awaited."""
    tasks = Tasks("owner")
    await tasks.close()
    with pytest.raises(RuntimeError, match="owner is closed: it cannot start late"):
        tasks.start(nothing(), name="late")
