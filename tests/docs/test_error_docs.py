"""The reference page of errors is what the errors say."""

from __future__ import annotations

from pathlib import Path

from binderlet import errors
from binderlet.errors import BinderletError

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "errors.md"
KINDS = [
    kind
    for kind in vars(errors).values()
    if isinstance(kind, type) and issubclass(kind, BinderletError) and kind is not BinderletError
]


def row(kind: type[BinderletError]) -> str:
    """The row of one error."""
    said = (kind.__doc__ or "").replace("|", "\\|")
    return f"| `{kind.code}` | {kind.status} | {said} | {kind.default_hint} |\n"


def test_page_has_exactly_the_errors() -> None:
    """Each error that is raised has its row, as the class says it, and the page has no other."""
    lines = PAGE.read_text(encoding="utf-8").splitlines(keepends=True)
    assert [line for line in lines if line.startswith("| `")] == [row(kind) for kind in KINDS]
