"""``binderlet version``."""

from __future__ import annotations

import pytest

from binderlet import __version__
from binderlet.cli.version import version


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    """It prints the version and nothing else."""
    version()
    assert capsys.readouterr().out == f"{__version__}\n"
