"""Work for which nobody waits: done in the background, one piece after the other."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

from binderlet.tasks import Tasks

T = TypeVar("T")


class Backlog(Generic[T]):
    """Awaits ``before``, then does one piece by ``do``, and so on; what is added twice meanwhile is done once."""

    def __init__(self, name: str, do: Callable[[T], Awaitable[None]], before: Callable[[], Awaitable[None]]) -> None:
        self._name = name
        self._do = do
        self._before = before
        self._tasks = Tasks(name)
        self._pieces: dict[str, T] = {}
        self._idle = asyncio.Event()
        self._idle.set()

    def add(self, key: str, piece: T) -> None:
        """Have it done soon; in the place of another one of that key that has not begun. Returns at once."""
        self._pieces[key] = piece
        if self._idle.is_set():
            self._idle.clear()
            self._tasks.start(self._run(), name=self._name)

    async def wait(self) -> None:
        """Return once there is nothing left to do."""
        await self._idle.wait()

    async def close(self) -> None:
        """Stop. Idempotent."""
        await self._tasks.close()

    async def _run(self) -> None:
        try:
            while self._pieces:
                await self._before()
                await self._do(self._pieces.pop(next(iter(self._pieces))))
        finally:
            self._idle.set()
