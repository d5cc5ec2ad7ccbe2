"""What is queued for a slow writer arrives once, in order, whatever happens to the writer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from structlog.testing import capture_logs

from binderlet.errors import StoreUnavailable
from binderlet.events import outbox as outbox_module
from binderlet.events.outbox import Outbox
from binderlet.tasks import Tasks
from support.eventually import eventually


class Writer:
    """Takes batches; ``down`` makes it fail, ``gate`` makes it wait."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.down = False
        self.gate = asyncio.Event()
        self.gate.set()
        self.begun = asyncio.Event()

    async def write(self, items: list[int]) -> None:
        """Take a batch."""
        self.begun.set()
        await self.gate.wait()
        if self.down:
            raise StoreUnavailable("The disk is full.")
        self.batches.append(items)


@asynccontextmanager
async def running(outbox: Outbox[int]) -> AsyncIterator[None]:
    """Run an outbox in the background."""
    async with Tasks("test") as tasks:
        tasks.start(outbox.run(), name="outbox")
        yield


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outbox_module, "GATHER", 0.01)


async def test_items_are_written_in_batches_and_in_order() -> None:
    """What comes within a moment is written together, and more than a batch in several."""
    writer = Writer()
    outbox = Outbox(writer.write, name="test", batch=3)
    async with running(outbox):
        for item in range(5):
            outbox.put(item)
        assert len(outbox) == 5
        await eventually(lambda: len(writer.batches) == 2)
    assert writer.batches == [[0, 1, 2], [3, 4]]


async def test_an_outage_is_logged_once_and_nothing_is_lost() -> None:
    """While the writer fails items wait, and they are written once it works again."""
    writer = Writer()
    writer.down = True
    outbox = Outbox(writer.write, name="test", retry=0.01)
    with capture_logs() as logs:
        async with running(outbox):
            outbox.put(1)
            await asyncio.sleep(0.1)
            outbox.put(2)
            writer.down = False
            await eventually(lambda: len(logs) == 2)
    assert [item for batch in writer.batches for item in batch] == [1, 2]
    assert [line["event"] for line in logs] == ["cannot record; will try again", "recording again"]


async def test_beyond_the_limit_items_are_dropped_and_counted() -> None:
    """Memory stays bounded: what comes when the queue is full is not kept."""
    writer = Writer()
    outbox = Outbox(writer.write, name="test", limit=2)
    for item in range(5):
        outbox.put(item)
    assert outbox.dropped == 3
    with capture_logs() as logs:
        await outbox.close()
    assert writer.batches == [[0, 1]]
    assert [line["event"] for line in logs] == ["not everything was recorded"]


async def test_what_cannot_be_written_at_the_end_is_counted_as_dropped() -> None:
    """Closing never waits for a disk that does not work."""
    writer = Writer()
    writer.down = True
    outbox = Outbox(writer.write, name="test")
    outbox.put(1)
    with capture_logs() as logs:
        await outbox.close()
    assert (outbox.dropped, len(outbox)) == (1, 0)
    assert logs[-1]["dropped"] == 1


async def test_a_batch_is_written_once_though_its_caller_is_cancelled() -> None:
    """Stopping the service in the middle of a batch neither tears nor doubles it."""
    writer = Writer()
    writer.gate.clear()
    outbox = Outbox(writer.write, name="test")
    async with running(outbox):
        outbox.put(1)
        await writer.begun.wait()
        outbox.put(2)
    writer.gate.set()
    await outbox.close()
    assert writer.batches == [[1], [2]]


async def test_flush_says_that_it_failed() -> None:
    """Whoever asks for everything to be written now learns that it was not."""
    writer = Writer()
    writer.down = True
    outbox = Outbox(writer.write, name="test")
    outbox.put(1)
    with pytest.raises(StoreUnavailable):
        await outbox.flush()
    assert len(outbox) == 1
