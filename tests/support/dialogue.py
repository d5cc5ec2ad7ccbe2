"""Scripted dialogues with a machine: ``<<`` expects a command, ``>>`` tells what happened."""

from __future__ import annotations

from collections import deque
from typing import Self

from binderlet.launch.machine import Command, Happening, Machine
from binderlet.launch.request import LaunchRequest


class Dialogue:
    """Run a machine step by step; any command that is not the expected one fails the test."""

    def __init__(self, request: LaunchRequest, first: Happening, *, has_registry: bool = False) -> None:
        self.machine = Machine(request, has_registry=has_registry)
        self._pending: deque[Command] = deque(self.machine.handle(first))

    def __lshift__(self, expected: Command) -> Self:
        assert self._pending, f"expected {expected!r}, but the machine says nothing more"
        assert self._pending.popleft() == expected
        return self

    def __rshift__(self, happening: Happening) -> Self:
        assert not self._pending, f"not expected: {self._pending!r}"
        self._pending.extend(self.machine.handle(happening))
        return self

    def announced(self, phase: str, text: str) -> Self:
        """Expect an announcement of that phase whose message holds the text."""
        command = self._pending.popleft()
        event = getattr(command, "event", None)
        assert event is not None, f"expected an announcement, got {command!r}"
        assert (event.phase, text in event.message) == (phase, True), event
        return self

    def end(self) -> None:
        """Expect nothing more."""
        assert not self._pending, f"not expected: {self._pending!r}"
