"""The background checks."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from binderlet.engine.fake import FakeEngine
from binderlet.errors import RouterUnavailable
from binderlet.launch import vitals
from binderlet.launch.vitals import Vitals
from binderlet.model import Check
from binderlet.router.inprocess import InProcessRouter


@pytest.fixture
async def router() -> AsyncIterator[InProcessRouter]:
    """A data path that runs."""
    made = InProcessRouter()
    await made.prepare()
    yield made
    await made.shutdown()


def checks_of(looked: Vitals) -> dict[str, Check]:
    """The checks by name."""
    return {check.service: check for check in looked.checks}


async def test_all_parts_are_looked_at(tmp_path: Path, router: InProcessRouter) -> None:
    """A healthy service has a check for each part, with what was seen."""
    looked = Vitals(FakeEngine(), router, state=tmp_path, min_free_disk=1, free_disk=lambda _: 2 * 1024**3)
    await looked.look()
    checks = checks_of(looked)
    assert all(check.ok for check in checks.values())
    assert checks["Disk"].message == "2.0 GB free"


async def test_an_engine_that_is_away_says_what_to_do(tmp_path: Path, router: InProcessRouter) -> None:
    """A part that does not answer fails its check with the error's hint; a low disk does not fail the service."""
    engine = FakeEngine()
    looked = Vitals(engine, router, state=tmp_path, min_free_disk=10**12, free_disk=lambda _: 1)
    engine.down = True
    await looked.look()
    checks = checks_of(looked)
    assert not checks["Container engine"].ok
    assert "doctor" in checks["Container engine"].message
    assert (checks["Disk"].ok, checks["Disk"].ignore_failure) == (False, True)


class Fallen(InProcessRouter):
    """A data path that is down until it is prepared again."""

    is_down = True

    async def ping(self) -> str:
        """Answer only when prepared."""
        if self.is_down:
            raise RouterUnavailable("It does not answer.")
        return "up"

    async def prepare(self) -> None:
        """Come back."""
        self.is_down = False


async def test_a_fallen_data_path_is_brought_back(tmp_path: Path) -> None:
    """A data path that is gone is started again."""
    looked = Vitals(FakeEngine(), Fallen(), state=tmp_path, min_free_disk=0)
    await looked.look()
    assert checks_of(looked)["Data path"] == Check("Data path", ok=True, message="up")


class Stuck(FakeEngine):
    """An engine that never answers."""

    async def ping(self) -> str:
        """Hang."""
        await asyncio.sleep(3600)
        return ""


async def test_a_silent_part_does_not_stop_the_looking(
    tmp_path: Path, router: InProcessRouter, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A part that hangs fails its check and the others are still looked at, again and again."""
    monkeypatch.setattr(vitals, "EVERY", 0.01)
    rounds = 0

    async def sleep(_: float) -> None:
        nonlocal rounds
        rounds += 1
        if rounds == 2:
            raise asyncio.CancelledError

    looked = Vitals(Stuck(), router, state=tmp_path, min_free_disk=0, sleep=sleep)
    with pytest.raises(asyncio.CancelledError):
        await looked.run()
    checks = checks_of(looked)
    assert "No answer within" in checks["Container engine"].message
    assert checks["Disk"].ok


async def test_what_other_parts_know_is_included(tmp_path: Path, router: InProcessRouter) -> None:
    """A part's own check is among the others after each look."""
    looked = Vitals(FakeEngine(), router, state=tmp_path, min_free_disk=0)
    looked.include(lambda: Check("Certificate", ok=False, message="It ends."))
    await looked.look()
    assert checks_of(looked)["Certificate"].message == "It ends."
