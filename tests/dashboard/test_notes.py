"""What operators did."""

from __future__ import annotations

from pathlib import Path

import pytest

from binderlet.dashboard.notes import Note, add_note, read_notes
from binderlet.errors import StoreUnavailable


def test_notes_come_back_in_order(tmp_path: Path) -> None:
    """A note is there afterwards, whatever is in its text, in the order of times."""
    path = tmp_path / "new" / "notes.jsonl"
    assert read_notes(path, 0, 10) == []
    later, earlier = Note(5, "work", 30, "disk é\nfull"), Note(2, "incident", 0, "down")
    add_note(path, later)
    add_note(path, earlier)
    assert read_notes(path, 0, 10) == [earlier, later]
    assert read_notes(path, 2, 5) == [earlier]


@pytest.mark.parametrize("text", ["no JSON\n", "[]\n", '{"at": 1}\n'])
def test_a_damaged_file(tmp_path: Path, text: str) -> None:
    """A line that is no note is told, not skipped."""
    (tmp_path / "notes.jsonl").write_text(text)
    with pytest.raises(StoreUnavailable, match="cannot be read"):
        read_notes(tmp_path / "notes.jsonl", 0, 10)


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    """A note that cannot be kept is an error."""
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreUnavailable, match="cannot be written"):
        add_note(tmp_path / "file" / "notes.jsonl", Note(1, "work", 0, "x"))
