"""A machine for installing on, as a folder, with programs that are played."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from binderlet.deploy.install.host import Host, Said

Play = Callable[[list[str]], Said | None]


class FakeHost(Host):
    """Files are real, in a folder; ``play`` answers for a program, or None for one that says nothing and succeeds."""

    def __init__(self, root: Path, play: Play = lambda _: None) -> None:
        super().__init__(root)
        self.ran: list[str] = []
        self._play = play

    def run(self, command: Sequence[str]) -> Said:
        """Note the command, and answer as the test wants."""
        self.ran.append(" ".join(command))
        return self._play(list(command)) or Said(0, "")
