"""The reference page of the command line is what the commands say."""

from __future__ import annotations

import re
from pathlib import Path

import typer

from binderlet.cli import main
from binderlet.cli.reference import render

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "reference" / "cli.md"


def commands(command: object, name: str = "binderlet") -> set[str]:
    """The full names of all commands."""
    inner = getattr(command, "commands", None)
    if inner is None:
        return {name}
    return {found for child, below in inner.items() for found in commands(below, f"{name} {child}")}


def test_page() -> None:
    """The page is what is written from the commands."""
    assert PAGE.read_text(encoding="utf-8") == render(), (
        "run: python -m binderlet.cli.reference > docs/reference/cli.md"
    )


def test_every_command_is_there() -> None:
    """No command is missing, and none is described that is gone."""
    described = set(re.findall(r"^## `(binderlet [^`]+)`$", PAGE.read_text(encoding="utf-8"), re.MULTILINE))
    assert described == commands(typer.main.get_command(main.app))


def test_commands_named_in_the_docs_exist() -> None:
    """Every 'binderlet x' that a page names is a command."""
    known = {name.split()[1] for name in commands(typer.main.get_command(main.app))}
    for page in [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]:
        named = re.findall(r"`binderlet ([a-z][a-z0-9-]*)", page.read_text(encoding="utf-8"))
        assert set(named) <= known, page.name
