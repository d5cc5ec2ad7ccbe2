"""The README keeps its promises, and the pages name only what exists: settings, options, metrics, errors, figures."""

from __future__ import annotations

import re
import shlex
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from binderlet.cli import main
from binderlet.config.keys import keys
from binderlet.config.schema import Settings
from binderlet.federation.config import parse as parse_federation

ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"
INDEX = ROOT / "docs" / "index.md"
PAGES = [README, *sorted((ROOT / "docs").rglob("*.md"))]
PICTURE_LIMIT = 200_000
LINK = re.compile(r"\]\((?!https?://|mailto:|#)([^)#\s]+\.md)")
PICTURE = re.compile(r"!\[([^\]]*)\]\(([^)\s]+\.png)\)")
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```", re.MULTILINE | re.DOTALL)
METRIC = re.compile(r"\b(binder(?:let|hub)_[a-z_]+?)(?:_bucket|_sum|_count)?\b")
each_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())


def read(page: Path) -> str:
    """Give the text of a page."""
    return page.read_text(encoding="utf-8")


def blocks(page: Path, language: str) -> list[str]:
    """Give the code of one language on a page."""
    return [code for name, code in BLOCK.findall(read(page)) if name == language]


def test_first_screen() -> None:
    """The first screen of the README has the two commands, which the Makefile knows, and a picture."""
    first = "\n".join(read(README).splitlines()[:14])
    assert {"run", "test"} <= set(re.findall(r"^    make (\w+)", first, re.MULTILINE))
    assert PICTURE.search(first)


def test_make_targets_exist() -> None:
    """Every 'make x' of a page is a target."""
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    for page in [*PAGES, ROOT / "CONTRIBUTING.md"]:
        assert set(re.findall(r"(?:^    |`)make (?:-s )?([a-z]+)", read(page), re.MULTILINE)) <= targets, page


def test_figures_exist() -> None:
    """Every figure that a page names has its benchmark."""
    for page in PAGES:
        for name in re.findall(r"FIGURE=(\w+)", read(page)):
            assert (ROOT / "benchmarks" / f"{name}.py").exists(), (page, name)


def test_every_page_can_be_reached() -> None:
    """Every page of the documentation is linked from its index, or from a page that is."""
    seen, ahead = {INDEX}, [INDEX]
    while ahead:
        page = ahead.pop()
        found = {(page.parent / link).resolve() for link in LINK.findall(read(page))} - seen
        seen |= found
        ahead += found
    assert set((ROOT / "docs").rglob("*.md")) - seen == set()


@each_page
def test_pictures(page: Path) -> None:
    """Every picture is there, is small, and says in words what it shows."""
    for words, name in PICTURE.findall(read(page)):
        assert 0 < (page.parent / name).stat().st_size < PICTURE_LIMIT, name
        assert len(words) > 20


@each_page
def test_settings_exist(page: Path) -> None:
    """Every setting that a page names, alone or with a value, is one."""
    known = {".".join(key.path) for key in keys()}
    sections = {path.rpartition(".")[0] for path in known} | {"providers"}
    named = re.findall(r"(?:`|--set )([a-z]+(?:\.[a-z_]+)+)(?=[`= ])", read(page))
    ours = {name for name in named if name.split(".")[0] in sections and not name.endswith((".py", ".md"))}
    assert ours - known - sections == set()


@each_page
def test_settings_files_load(page: Path) -> None:
    """Every settings file that a page shows is right."""
    for code in blocks(page, "toml"):
        if "[members." in code:
            parse_federation(code, page.name)
        else:
            Settings.model_validate(tomllib.loads(code))


@each_page
def test_command_lines(page: Path) -> None:
    """Every command and option in a page's shell code exists."""
    for code in blocks(page, "sh"):
        for words in command_lines(code):
            command, rest = find_command(words)
            known = {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)}
            known |= {"--help", "--install-completion", "--show-completion"}
            assert {word.partition("=")[0] for word in rest if word.startswith("--")} <= known, words


def command_lines(code: str) -> Iterator[list[str]]:
    """Give what comes after 'binderlet' in each command of some shell code."""
    for line in code.splitlines():
        if match := re.search(r"(?:^|[\s(/])binderlet (.*)", line):
            yield shlex.split(re.split(r"[|;&<>)]", match[1])[0], comments=True)


def find_command(words: list[str]) -> tuple[Any, list[str]]:
    """Follow the words to a command; gives it and the words that are left."""
    command: Any = typer.main.get_command(main.app)
    while words and words[0] in getattr(command, "commands", {}):
        command, words = command.commands[words[0]], words[1:]
    assert not getattr(command, "commands", {}) or not words or words[0].startswith("-"), words
    return command, words


@each_page
def test_metrics_exist(page: Path) -> None:
    """Every metric that a page names is on the page of metrics."""
    known = set(METRIC.findall(read(ROOT / "docs" / "reference" / "metrics.md"))) | {"binderhub_url"}  # Jupyter Book's
    assert set(METRIC.findall(read(page))) <= known


def test_every_error_has_its_mend() -> None:
    """The page for troubles has each error code of the reference, and no other."""
    rows = re.compile(r"^\| (`.*?) \|", re.MULTILINE)
    codes = [
        {code for row in rows.findall(read(page)) for code in re.findall(r"`(\w+)`", row)}
        for page in (ROOT / "docs" / "how-to" / "troubleshoot.md", ROOT / "docs" / "reference" / "errors.md")
    ]
    assert codes[0] == codes[1]
