"""Documentation names only what exists."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TOP = "src|tests|docs|examples|benchmarks|scripts|\\.ci"
NAMED = re.compile(rf"`((?:{TOP})/[\w./-]+|[A-Z]+\.md|pyproject\.toml|requirements[\w-]*\.lock|Makefile|LICENSE)`")
LINK = re.compile(r"\]\((?!https?://|mailto:|#)([^)#\s]+)")
PAGES = [
    ROOT / "ARCHITECTURE.md",
    ROOT / "README.md",
    *sorted((ROOT / "docs").rglob("*.md")),
    *sorted(ROOT.glob("C*.md")),
]


def test_architecture_names_paths() -> None:
    """ARCHITECTURE.md names the tree, so that this test has something to check."""
    assert len(NAMED.findall((ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8"))) > 10


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_named_paths_exist(page: Path) -> None:
    """Every path of this repository that a page names is there."""
    text = page.read_text(encoding="utf-8")
    assert [name for name in NAMED.findall(text) if not (ROOT / name).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    """Every relative link of a page leads to a file."""
    text = page.read_text(encoding="utf-8")
    assert [link for link in LINK.findall(text) if not (page.parent / link).exists()] == []


def test_every_folder_is_in_the_tree() -> None:
    """Every folder of the source is in ARCHITECTURE.md."""
    text = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
    folders = [folder.parent.name for folder in (ROOT / "src" / "binderlet").glob("*/__init__.py")]
    assert [name for name in folders if f"src/binderlet/{name}" not in text] == []
