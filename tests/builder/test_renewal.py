"""Renewing the base image."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from binderlet.builder.base_image import KeptBase
from binderlet.builder.renewal import Renewal
from binderlet.errors import BuildFailed
from binderlet.events.buildlog import BuildLog
from support.eventually import eventually

NOW = 1_000_000.0


class Bases:
    """One base image of some age, and how often it was renewed."""

    def __init__(self, age: float | None) -> None:
        self.age = age
        self.renewed = 0
        self.error: BuildFailed | None = None

    async def kept(self) -> list[KeptBase]:
        """Give it, and an older one that does not count."""
        old = KeptBase("", "sha256:1", 0.0, 1, is_current=False)
        return [old] if self.age is None else [KeptBase("b:1", "sha256:2", NOW - self.age, 1, is_current=True), old]

    async def renew(self, log: BuildLog) -> None:
        """Count."""
        self.renewed += 1
        log.write("made anew")
        if self.error is not None:
            raise self.error


@pytest.mark.parametrize(("age", "renewed"), [(99.0, False), (100.0, True), (None, False)])
async def test_look(tmp_path: Path, age: float | None, *, renewed: bool) -> None:
    """One that is old enough is made anew, with a log; where there is none, it is made by the next build."""
    bases = Bases(age)
    assert await Renewal(bases, tmp_path / "log", max_age=100, clock=lambda: NOW).look() is renewed
    assert (bases.renewed == 1) is renewed
    assert (tmp_path / "log").exists() is renewed


@pytest.fixture
async def quiet() -> AsyncIterator[None]:
    """Keep warnings out of the output."""
    with capture_logs():
        yield


@pytest.mark.usefixtures("quiet")
async def test_in_the_background(tmp_path: Path) -> None:
    """It looks again and again, whatever goes wrong, until it is closed."""
    bases = Bases(1000)
    bases.error = BuildFailed("No mirror.")
    renewal = Renewal(bases, tmp_path / "log", max_age=100, every=0.01, clock=lambda: NOW)
    renewal.start()
    await eventually(lambda: bases.renewed > 1)
    await renewal.close()


async def test_never(tmp_path: Path) -> None:
    """With an age of 0 nothing is renewed."""
    renewal = Renewal(Bases(1000), tmp_path / "log", max_age=0, every=0)
    renewal.start()
    assert len(renewal._tasks) == 0
    await renewal.close()
