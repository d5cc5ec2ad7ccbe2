"""Reading runtime.txt."""

from __future__ import annotations

import pytest

from binderlet.builder.runtime import Runtime, parse_runtime
from binderlet.errors import BadRepository


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("python-3.11\n", Runtime("python", "3.11")),
        ("python-3", Runtime("python", "3")),
        ("python-3.11-2024-01-31", Runtime("python", "3.11", "2024-01-31")),
        ("r-2024-01-31", Runtime("r", "", "2024-01-31")),
        ("r-4.3-2024-01-31", Runtime("r", "4.3", "2024-01-31")),
        ("foo-1", Runtime("foo", "1")),
    ],
)
def test_forms(text: str, expected: Runtime) -> None:
    """Each of the three forms is read."""
    assert parse_runtime(text, "runtime.txt") == expected


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "is not of the form"),
        ("python", "is not of the form"),
        ("python-", "is not of the form"),
        ("python-3.10-2023", "is not of the form"),
        ("python-3.10-2023-1-1", "is not of the form"),
        ("python-3.10-2023-13-01", "2023-13-01 is not a date"),
        ("3.11", "is not of the form"),
    ],
)
def test_wrong_forms(text: str, words: str) -> None:
    """Anything else is refused, with the file and the line."""
    with pytest.raises(BadRepository, match=rf"binder/runtime\.txt, line 1: .*{words}"):
        parse_runtime(text, "binder/runtime.txt")
