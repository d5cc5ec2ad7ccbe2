"""The example file and the reference page say what the schema says, both ways."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

from binderlet.config.keys import keys
from binderlet.config.load import load
from binderlet.config.reference import render_example, render_reference
from binderlet.config.schema import Settings

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "binderlet.toml"


def uncommented() -> str:
    """The example with every key switched on."""
    return re.sub(r"^# (?=[a-z_]+ = )", "", EXAMPLE.read_text(encoding="utf-8"), flags=re.MULTILINE)


def _paths(table: dict[str, object], path: tuple[str, ...] = ()) -> set[tuple[str, ...]]:
    found: set[tuple[str, ...]] = set()
    for name, value in table.items():
        found |= _paths(value, (*path, name)) if isinstance(value, dict) and value else {(*path, name)}
    return found


def test_example_has_exactly_the_keys_of_the_schema() -> None:
    """No key of the schema is missing in the example, and the example has no other."""
    assert _paths(tomllib.loads(uncommented())) == {key.path for key in keys()}


def test_example_has_the_defaults(tmp_path: Path) -> None:
    """Switching on every key of the example changes nothing."""
    file = tmp_path / "binderlet.toml"
    file.write_text(uncommented(), encoding="utf-8")
    assert load(file, environ={}).settings == Settings()


def test_example_documents_each_key() -> None:
    """The example is what 'binderlet config docs --example' writes, so each key has its documentation."""
    assert EXAMPLE.read_text(encoding="utf-8") == render_example()


def test_reference_page() -> None:
    """The reference page is what 'binderlet config docs' writes."""
    page = ROOT / "docs" / "reference" / "config.md"
    assert page.read_text(encoding="utf-8") == render_reference(), (
        "run: binderlet config docs > docs/reference/config.md"
    )
