"""The port to what runs sessions, and the only truth about which of them run.

``tests/engine/test_contract.py`` runs against each implementation.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Protocol

from binderlet.model import Session, SessionSpec


class Engine(Protocol):
    """Runs sessions. All methods may be called concurrently."""

    async def prepare(self) -> None:
        """Make what sessions need, such as their network, where it is absent. Idempotent.

        Raises:
            EngineUnavailable: the engine does not answer.
        """

    async def start(self, spec: SessionSpec) -> Session:
        """Start a session; it has an address when this returns, but may not answer yet.

        Nothing is left behind when this fails or is cancelled.

        Raises:
            ImageMissing: the engine has no such image.
            SessionDied: it ended at once.
            EngineUnavailable: the engine does not answer.
        """

    async def stop(self, session_id: str) -> None:
        """End a session and remove all traces of it. Idempotent: an unknown id is already stopped.

        Raises:
            EngineUnavailable: the engine does not answer.
        """

    async def list(self) -> Sequence[Session]:
        """Give every session of this instance, read from the engine, also those that ended and were not removed.

        Raises:
            EngineUnavailable: the engine does not answer.
        """

    def watch(self) -> AsyncIterator[Session]:
        """Yield each session as it ends, within seconds of it; the iterator does not end by itself.

        Events may be missed while the connection is down: callers also reconcile with ``list``.

        Raises:
            EngineUnavailable: the connection was lost; call again.
        """

    async def logs(self, session_id: str, lines: int = 50) -> str:
        """Give the last lines that a session printed; empty where it is unknown.

        Raises:
            EngineUnavailable: the engine does not answer.
        """

    async def ping(self) -> str:
        """Give the engine's name and version, such as ``Docker 20.10.24``.

        Raises:
            EngineUnavailable: the engine does not answer.
        """

    async def close(self) -> None:
        """Give back connections; sessions go on. Idempotent."""
