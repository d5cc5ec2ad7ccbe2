"""What operators did and what went wrong, as JSON lines that ``binderlet note`` adds to."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from binderlet.errors import StoreUnavailable

KINDS = ("work", "incident")


@dataclass(frozen=True, slots=True)
class Note:
    """One intervention or incident."""

    at: float
    """Seconds since the epoch."""
    kind: str
    """``work`` or ``incident``."""
    minutes: float
    """Time that somebody spent on it."""
    text: str


def add_note(path: Path, note: Note) -> None:
    """Add a note.

    Raises:
        StoreUnavailable: the file cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(asdict(note), ensure_ascii=False) + "\n")
    except OSError as error:
        raise StoreUnavailable(f"The note cannot be written to {path}: {error}.") from error


def read_notes(path: Path, begins: float, ends: float) -> Sequence[Note]:
    """Read the notes of a time, the oldest first; none where there is no file.

    Raises:
        StoreUnavailable: the file cannot be read, or a line of it is no note.
    """
    try:
        lines = path.read_text("utf-8").splitlines() if path.exists() else []
        notes = [Note(**json.loads(line)) for line in lines if line.strip()]
    except (OSError, ValueError, TypeError) as error:
        hint = "Mend the line by hand, or move the file away."
        raise StoreUnavailable(f"The notes in {path} cannot be read: {error}.", hint=hint) from error
    return sorted((note for note in notes if begins <= note.at < ends), key=lambda note: note.at)
