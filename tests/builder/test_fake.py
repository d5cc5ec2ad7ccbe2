"""The fake builder beyond the contract."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from binderlet.builder.base import BuildRequest
from binderlet.builder.fake import FakeBuilder
from binderlet.errors import BuildFailed
from binderlet.events.buildlog import BuildLog
from binderlet.model import Image
from support.values import COMMIT


async def test_builds_once_and_tells(tmp_path: Path) -> None:
    """A store can learn of the image, and what is built is not built again."""
    told: list[Image] = []
    builder = FakeBuilder(["one", "two"], on_built=told.append)
    log = BuildLog(tmp_path / "log")
    request = BuildRequest(COMMIT, tmp_path, "name:tag")
    await builder.prepare(log)
    image = await builder.build(request, log)
    assert await builder.build(request, log) == image
    assert (told, builder.requests) == ([image], [request])
    await log.flush()
    assert "two" in await asyncio.to_thread(log.path.read_text)
    assert builder.info == {"builder": "fake"}
    await builder.close()


async def test_fails_as_told(tmp_path: Path) -> None:
    """An error that is set is raised."""
    builder = FakeBuilder()
    builder.error = BuildFailed("Broken.")
    with pytest.raises(BuildFailed):
        await builder.build(BuildRequest(COMMIT, tmp_path, "name:tag"), BuildLog(tmp_path / "log"))


async def test_waits_at_the_gate(tmp_path: Path) -> None:
    """A build can be held, and notices that it is cancelled."""
    builder = FakeBuilder()
    builder.gate.clear()
    log = BuildLog(tmp_path / "log")
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(builder.build(BuildRequest(COMMIT, tmp_path, "name:tag"), log), 0.2)
    assert len(builder.ended_early) == 1
    await log.flush()


async def test_without_a_listener(tmp_path: Path) -> None:
    """Nobody needs to be told."""
    log = BuildLog(tmp_path / "log")
    assert (await FakeBuilder().build(BuildRequest(COMMIT, tmp_path, "name:tag"), log)).name == "name:tag"
    await log.flush()
