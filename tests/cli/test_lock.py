"""``binderlet lock``."""

from __future__ import annotations

from pathlib import Path

import pytest

from binderlet.cli.local import Local, Source
from support.command import Command


def test_lock(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """The lock is all that goes to standard output."""
    asked: list[Source] = []

    async def lock(_self: Local, source: Source) -> str:
        asked.append(source)
        return '{"format": 1}\n'

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(Local, "lock", lock)
    command = Command(tmp_path, capsys)
    assert command("lock", "gh/o/r", "--ref", "main") == 0
    assert command.out == '{"format": 1}\n'
    assert asked == [Source("gh/o/r", "main")]
