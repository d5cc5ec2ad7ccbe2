"""The builder is made ready, and what it says is shown."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from binderlet.app.preparing import WIDTH, prepare_builder, prepare_meanwhile
from binderlet.builder.fake import FakeBuilder
from binderlet.errors import BuildFailed
from binderlet.events.buildlog import BuildLog
from binderlet.tasks import Tasks


class Says(FakeBuilder):
    """Says something, and fails where it is told to."""

    async def prepare(self, log: BuildLog) -> None:
        """Say it."""
        for line in ("one", "  ", "x" * 500):
            log.write(line)
        if self.error:
            raise self.error


async def test_lines_are_shown(tmp_path: Path) -> None:
    """Each line that says something is shown once, none too long; the log of an earlier time is gone."""
    log, shown = tmp_path / "log", list[str]()
    for _ in range(2):
        shown.clear()
        async with Tasks("test") as tasks:
            await prepare_builder(Says(), log, tasks, shown.append)
        assert shown == ["one", "x" * WIDTH]
    text = await asyncio.to_thread(log.read_text)
    assert text.count("one") == 1


async def test_a_failure_comes_after_its_words(tmp_path: Path) -> None:
    """What was said before a failure has been shown when it is raised."""
    builder, shown = Says(), list[str]()
    builder.error = BuildFailed("No.")
    async with Tasks("test") as tasks:
        with pytest.raises(BuildFailed):
            await prepare_builder(builder, tmp_path / "log", tasks, shown.append)
    assert shown[0] == "one"


async def test_meanwhile(tmp_path: Path) -> None:
    """While the service runs a failure ends nothing, and is logged with what was said before it."""
    builder = Says()
    builder.error = BuildFailed("No.")
    with capture_logs() as logged:
        async with Tasks("test") as tasks:
            await prepare_meanwhile(builder, tmp_path / "log", tasks)
    assert [one.get("says", one.get("error")) for one in logged] == ["one", "x" * WIDTH, "No."]
