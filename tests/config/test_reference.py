"""The example file and the reference page are written from the schema."""

from __future__ import annotations

import tomllib

from binderlet.config.keys import keys
from binderlet.config.reference import render_example, render_reference, toml_value


def test_toml_values() -> None:
    """Every default is written so that TOML reads the same value back."""
    values = {"text": 'a "b" \\ é', "list": ["x", 1], "table": {"a": "b"}, "yes": True, "none": {}}
    for name, value in values.items():
        assert tomllib.loads(f"{name} = {toml_value(value)}") == {name: value}


def test_example_is_inert() -> None:
    """The example as it stands sets nothing."""
    assert not any(value for table in tomllib.loads(render_example()).values() for value in _leaves(table))


def _leaves(table: object) -> list[object]:
    if isinstance(table, dict):
        return [leaf for value in table.values() for leaf in _leaves(value)]
    return [table]


def test_reference_has_every_key() -> None:
    """The reference page has one row for each key, with its default."""
    page = render_reference()
    for key in keys():
        assert page.count(f"| `{key.name}` |") == 1
