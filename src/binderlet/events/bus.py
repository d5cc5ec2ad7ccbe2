"""Tells facts to whoever listens, and keeps the events of one launch for its viewers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable

import structlog

from binderlet.events.kinds import Fact, LaunchEvent

log = structlog.get_logger(__name__)

Listener = Callable[[Fact], None]
"""Must return at once: listeners that write to a disk put the fact on a queue of their own."""


class Bus:
    """Tells each fact to every listener, in the order they were added."""

    def __init__(self) -> None:
        self._listeners: list[Listener] = []

    def listen(self, listener: Listener) -> None:
        """Add a listener."""
        self._listeners.append(listener)

    def tell(self, fact: Fact) -> None:
        """Tell a fact; a listener that fails is logged and does not keep it from the others."""
        for listener in self._listeners:
            try:
                listener(fact)
            except Exception:
                log.exception("listener failed", fact=type(fact).__name__)


class Story:
    """The events of one launch, in order, for any number of viewers, from any point on.

    Viewers cost nothing while they wait: one ``asyncio.Event`` wakes all of them.
    """

    def __init__(self) -> None:
        self.events: list[LaunchEvent] = []
        self.closed = False
        self._changed = asyncio.Event()

    def add(self, event: LaunchEvent) -> None:
        """Append an event; raises ``RuntimeError`` once the story is closed."""
        if self.closed:
            raise RuntimeError("the story has ended")
        self.events.append(event)
        self._wake()

    def close(self) -> None:
        """End the story: viewers get what is left and then their iterators end. Idempotent."""
        self.closed = True
        self._wake()

    def _wake(self) -> None:
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    async def follow(self, after: int = 0) -> AsyncIterator[tuple[int, LaunchEvent]]:
        """Yield ``(number, event)`` for each event after number ``after``; numbers start at 1."""
        position = after
        while True:
            while position < len(self.events):
                position += 1
                yield position, self.events[position - 1]
            if self.closed:
                return
            await self.wait(position)

    async def wait(self, after: int) -> None:
        """Return once there is an event after number ``after`` or the story has ended."""
        while len(self.events) <= after and not self.closed:
            await self._changed.wait()
