"""Counts for budgets."""

from __future__ import annotations

from pathlib import Path

import pytest

from binderlet.federation.ledger import Ledger

MARCH, APRIL = 1_772_400_000.0, 1_775_100_000.0


def test_counts_of_a_month(tmp_path: Path) -> None:
    """Launches of a calendar month are counted, kept over a restart, and begin anew with the next month."""
    path = tmp_path / "ledger.json"
    first = Ledger(path, replicas=2)
    first.load()
    for _ in range(3):
        first.add("a", MARCH)
    first.save(first.body())
    second = Ledger(path)
    second.load()
    assert (first.used(MARCH), second.used(MARCH)) == ({"a": 6}, {"a": 3})
    second.set_replicas(3)
    assert second.used(MARCH) == {"a": 9}
    assert second.used(APRIL) == {}


@pytest.mark.parametrize("text", ["", "[]", '{"month": 1}', '{"month": "x", "launches": {"a": "b"}}'])
def test_a_broken_file(tmp_path: Path, text: str) -> None:
    """A file that cannot be read is as none."""
    path = tmp_path / "ledger.json"
    path.write_text(text)
    ledger = Ledger(path)
    ledger.load()
    assert ledger.used(MARCH) == {}


def test_without_a_file(tmp_path: Path) -> None:
    """Without a file, or where it cannot be written, counting goes on."""
    for ledger in (Ledger(), Ledger(tmp_path / "no" / "ledger.json")):
        ledger.load()
        ledger.add("a", MARCH)
        ledger.save(ledger.body())
        assert ledger.used(MARCH) == {"a": 1}
