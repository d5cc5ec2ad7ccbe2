"""The reference page of the command line."""

from __future__ import annotations

import runpy
import warnings

import pytest

from binderlet.cli.reference import render


def test_page() -> None:
    """It has the exit codes, each command with its options, and completion."""
    page = render()
    assert "| 3 | something does not answer, such as the service |\n" in page
    assert "## `binderlet config show`" in page
    assert "| `-p, --provider <str>` | " in page
    assert "--install-completion" in page
    assert "## `binderlet version`\n\nPrint the version.\n\n    binderlet version [OPTIONS]\n\n## " in page


def test_as_a_program(capsys: pytest.CaptureFixture[str]) -> None:
    """As a program, it prints the page."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # it is imported here already, which is the point of no harm
        runpy.run_module("binderlet.cli.reference", run_name="__main__")
    assert capsys.readouterr().out == render()
