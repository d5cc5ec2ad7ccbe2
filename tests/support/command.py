"""Runs the command line in this process, as a user would."""

from __future__ import annotations

from pathlib import Path

import pytest

from binderlet.cli.main import run


class Command:
    """Runs ``binderlet`` with a state folder of its own, and remembers what it printed."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.state = folder
        self._capsys = capsys
        self.out = ""
        self.err = ""

    def __call__(self, *arguments: str, state: bool = True) -> int:
        """Run it and give its exit code; ``state`` adds the option that names the folder."""
        more = ("--set", f"paths.state={self.state}") if state else ()
        with pytest.raises(SystemExit) as ended:
            run([*arguments, *more])
        self.out, self.err = self._capsys.readouterr()
        code = ended.value.code
        return code if isinstance(code, int) else 0
