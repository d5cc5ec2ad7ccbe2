"""Why a base image could not be made."""

from __future__ import annotations

import pytest

from binderlet.builder.base_failure import failure, no_python
from binderlet.builder.job import Outcome
from binderlet.errors import BuildFailed, RegistryUnreachable


def test_unreachable() -> None:
    """A server that does not answer is named with the setting; where no line names one, with the default."""
    named = failure(
        "No Jupyter", Outcome(1, "exited", "x\nerror: https://p.example.org: timed out\n"), "a.b", default="d"
    )
    assert isinstance(named, BuildFailed)
    silent = failure("No Jupyter", Outcome(1, "exited", "Connection refused\n"), "a.b", default="d.example.org")
    assert isinstance(silent, RegistryUnreachable)
    assert silent.message.startswith("No Jupyter: d.example.org cannot be reached from here.")
    assert "Set a.b" in silent.hint


def test_failed() -> None:
    """Everything else has the words that tell most, or says that there are none."""
    outcome = Outcome(2, "exited", "a\nerror: this\nb\n")
    assert failure("No", outcome, "a.b", default="d").message == "No: error: this (exit code 2)"
    assert "it printed nothing" in failure("No", Outcome(2, "exited", ""), "a.b", default="d").message


@pytest.mark.parametrize(
    ("tail", "message"),
    [
        (
            "error: No\n  Caused by: Failed to download https://m.example.org:8/1.gz\n  Caused by: dns error",
            "Python 3.12 cannot be had from m.example.org:8. It was said: dns error",
        ),
        ("error: No download found for request: 3.12", "Python 3.12 cannot be had. It was said: No download found"),
        ("", "Python 3.12 cannot be had. It was said: Python 3.12"),
    ],
)
def test_no_python(tail: str, message: str) -> None:
    """The innermost cause is told, and from where."""
    error = no_python("3.12", tail)
    assert error.message.startswith(message)
    assert "builder.python_mirror" in error.hint
