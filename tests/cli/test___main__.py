"""``python -m binderlet.cli``."""

from __future__ import annotations

import runpy
import sys

import pytest

from binderlet import __version__


def test_runs_the_command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """The module runs the same command."""
    monkeypatch.setattr(sys, "argv", ["binderlet", "version"])
    with pytest.raises(SystemExit) as ended:
        runpy.run_module("binderlet.cli", run_name="__main__")
    assert not ended.value.code
    assert capsys.readouterr().out == f"{__version__}\n"
