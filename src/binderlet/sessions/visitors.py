"""The engine as the book of sessions sees it: without the sessions that wait for a launch.

A standby that was adopted looks like one that its launch had started; all others are the pool's own business.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Protocol

from binderlet.engine.base import Engine
from binderlet.model import Session, SessionSpec


class Standbys(Protocol):
    """What the view asks of the pool."""

    def before_list(self) -> None:
        """Be told that the engine's list will be read now."""

    def sort_out(self, listed: Sequence[Session]) -> Sequence[Session]:
        """Take in what is listed, and give what is no standby."""

    def ended(self, session: Session) -> Session | None:
        """Take in the end of a session; give it if it is no standby."""

    async def forget(self, session_id: str) -> None:
        """Be told that a session is gone, adopted or not."""


class VisitorsEngine:
    """The engine port on another engine, without the standbys of a pool."""

    def __init__(self, engine: Engine, standbys: Standbys) -> None:
        self._engine = engine
        self._standbys = standbys

    async def prepare(self) -> None:
        """As the engine."""
        await self._engine.prepare()

    async def start(self, spec: SessionSpec) -> Session:
        """As the engine."""
        return await self._engine.start(spec)

    async def stop(self, session_id: str) -> None:
        """As the engine; an adoption ends with its session."""
        await self._engine.stop(session_id)
        await self._standbys.forget(session_id)

    async def list(self) -> Sequence[Session]:
        """As the engine, without standbys."""
        self._standbys.before_list()
        return self._standbys.sort_out(await self._engine.list())

    def watch(self) -> AsyncIterator[Session]:
        """As the engine, without standbys."""
        return self._watch(self._engine.watch())

    async def _watch(self, endings: AsyncIterator[Session]) -> AsyncIterator[Session]:
        async for session in endings:
            visible = self._standbys.ended(session)
            if visible is not None:
                yield visible

    async def logs(self, session_id: str, lines: int = 50) -> str:
        """As the engine."""
        return await self._engine.logs(session_id, lines)

    async def ping(self) -> str:
        """As the engine."""
        return await self._engine.ping()

    async def close(self) -> None:
        """Close the engine."""
        await self._engine.close()
