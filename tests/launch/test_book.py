"""The book of launches."""

from __future__ import annotations

import pytest

from binderlet.launch import book
from support.launches import Workshop, told


async def test_launches_are_found_by_unguessable_ids(workshop: Workshop) -> None:
    """A launch is found by its id, and ids are long and random."""
    first, second = workshop.launch(), workshop.launch()
    assert workshop.book.find(first.id) is first
    assert workshop.book.find("nope") is None
    assert len(first.id) == 32
    assert first.id != second.id
    assert len(workshop.book.running) == 2


async def test_ended_launches_are_kept_for_a_while(workshop: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
    """A launch that has ended can be replayed for some minutes, unless there are too many."""
    first = workshop.launch(build_only=True)
    await told(first)
    workshop.clock.now += book.KEPT_SECONDS - 1
    running = workshop.launch("owner/repo/next", build_only=True)
    assert workshop.book.find(first.id) is first
    workshop.clock.now += 2
    second = workshop.launch(build_only=True)
    assert workshop.book.find(first.id) is None
    await told(running)
    await told(second)
    monkeypatch.setattr(book, "KEPT_LAUNCHES", 1)
    workshop.launch(build_only=True)
    assert len(workshop.book) <= 2
