"""The engine without standbys keeps the engine's contract for all other sessions."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace

import pytest

from binderlet.engine.fake import FakeEngine
from binderlet.errors import EngineUnavailable
from binderlet.model import Session
from binderlet.sessions.visitors import VisitorsEngine
from support.engine_harness import SPEC


class Hidden:
    """Hides what has the label."""

    def __init__(self) -> None:
        self.calls: list[str] = []

    def before_list(self) -> None:
        """Note it."""
        self.calls.append("list")

    def sort_out(self, listed: Sequence[Session]) -> Sequence[Session]:
        """Hide."""
        return [session for session in listed if not session.standby]

    def ended(self, session: Session) -> Session | None:
        """Hide."""
        self.calls.append(f"ended {session.id}")
        return None if session.standby else session

    async def forget(self, session_id: str) -> None:
        """Note it."""
        self.calls.append(f"forget {session_id}")


async def test_standbys_are_hidden_and_everything_else_passes() -> None:
    """Lists and watches leave standbys out; all other calls reach the engine."""
    engine, hidden = FakeEngine(), Hidden()
    view = VisitorsEngine(engine, hidden)
    await view.prepare()
    assert await view.ping() == "Fake 1.0"
    session = await view.start(SPEC)
    await engine.start(replace(SPEC, id="standby", standby="key"))
    engine.output[SPEC.id] = "one\ntwo"
    assert await view.logs(SPEC.id, 1) == "two"
    assert await view.list() == [session]

    endings = view.watch()
    engine.end("standby")
    ended = engine.end(SPEC.id)
    async with asyncio.timeout(5):
        assert await anext(endings) == ended
    await view.stop(SPEC.id)
    assert await view.list() == []
    assert hidden.calls == ["list", "ended standby", f"ended {SPEC.id}", f"forget {SPEC.id}", "list"]
    await endings.aclose()  # type: ignore[attr-defined] # the port says iterator, and it is a generator
    endings = view.watch()
    engine.down = True
    with pytest.raises(EngineUnavailable):
        await anext(endings)
    await view.close()
