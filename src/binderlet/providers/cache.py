"""Answers that stay good for a few seconds, looked up once however many ask at the same time."""

from __future__ import annotations

import asyncio
import copy
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import Final, Generic, TypeVar

from binderlet.errors import BinderletError, NotFound
from binderlet.tasks import Tasks

V = TypeVar("V")

_FAILURE_SECONDS: Final = 2.0
"""How long "there is no such thing" is believed: enough against a storm, too short for a person to notice."""


class LookupCache(Generic[V]):
    """Keeps the answers of slow look-ups by key.

    A look-up goes on when the one who asked leaves; everyone who asks meanwhile gets its answer. ``NotFound`` is
    kept for at most two seconds, other errors not at all.
    """

    def __init__(
        self, owner: str, seconds: float, *, size: int = 4096, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._seconds = seconds
        self._size = size
        self._clock = clock
        self._answers: OrderedDict[str, tuple[float, V | BinderletError]] = OrderedDict()
        self._running: dict[str, asyncio.Task[V | BinderletError]] = {}
        self._tasks = Tasks(owner)

    async def get(self, key: str, look_up: Callable[[str], Awaitable[V]]) -> V:
        """Answer from memory, or by ``look_up(key)``; raises what it raises."""
        found = self._answers.get(key)
        if found is not None and self._clock() < found[0]:
            return _answer(found[1])
        running = self._running.get(key)
        if running is None:
            running = self._tasks.start(self._run(key, look_up), name=f"look up {key}")
            self._running[key] = running
            running.add_done_callback(lambda _: self._running.pop(key))
        return _answer(await asyncio.shield(running))

    async def _run(self, key: str, look_up: Callable[[str], Awaitable[V]]) -> V | BinderletError:
        try:
            outcome: V | BinderletError = await look_up(key)
        except BinderletError as error:  # for each who waits to raise, not for the task to end with
            outcome = error
        self._keep(key, outcome)
        return outcome

    def _keep(self, key: str, outcome: V | BinderletError) -> None:
        if isinstance(outcome, BinderletError):
            seconds = min(_FAILURE_SECONDS, self._seconds) if isinstance(outcome, NotFound) else 0.0
        else:
            seconds = self._seconds
        self._answers.pop(key, None)
        if seconds > 0:
            self._answers[key] = (self._clock() + seconds, outcome)
        while len(self._answers) > self._size:
            self._answers.popitem(last=False)

    async def close(self) -> None:
        """End what is being looked up. Idempotent."""
        await self._tasks.close()


def _answer(outcome: V | BinderletError) -> V:
    if isinstance(outcome, BinderletError):
        raise copy.copy(outcome)  # raising one object many times would grow its traceback
    return outcome
