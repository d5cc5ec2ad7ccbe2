"""What this machine has left."""

from __future__ import annotations

from binderlet.sessions.machine import read_machine


def test_this_machine_can_be_read() -> None:
    """The values fit together."""
    machine = read_machine()
    assert 0 < machine.memory_free <= machine.memory
    assert 0 <= machine.swap_free <= machine.swap
    assert 0 <= machine.cpu <= 1
