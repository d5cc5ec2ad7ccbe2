"""What people paste, as a repo provider and its spec."""

from __future__ import annotations

from pathlib import Path

import pytest

from binderlet.cli.address import Address, folder_address, parse_address
from binderlet.errors import BadSpec


def spec(text: str, ref: str = "", **options: object) -> str:
    """The provider and spec that a text means."""
    return str(parse_address(text, ref=ref, **options).spec)  # type: ignore[arg-type] # a table of options


@pytest.mark.parametrize(
    ("text", "ref", "expected"),
    [
        ("https://github.com/o/r", "", "gh/o/r/HEAD"),
        ("https://github.com/o/r/", "v1", "gh/o/r/v1"),
        ("  https://github.com/o/r.git ", "", "gh/o/r/HEAD"),
        ("http://www.github.com/o/r", "", "gh/o/r/HEAD"),
        ("https://github.com/o/r/tree/main", "", "gh/o/r/main"),
        ("https://github.com/o/r/tree/feature/x", "", "gh/o/r/feature/x"),
        ("https://github.com/o/r/tree/a%23b", "", "gh/o/r/a%23b"),
        ("https://github.com/o/r/commit/abc123", "", "gh/o/r/abc123"),
        ("https://github.com/o/r/issues/5", "", "gh/o/r/HEAD"),
        ("https://gitlab.com/o/r", "", "git/https%3A%2F%2Fgitlab.com%2Fo%2Fr/HEAD"),
        ("https://gitlab.com/o/r", "a/b", "git/https%3A%2F%2Fgitlab.com%2Fo%2Fr/a/b"),
        ("ssh://git@github.com/o/r", "", "git/ssh%3A%2F%2Fgit%40github.com%2Fo%2Fr/HEAD"),
        ("git@github.com:o/r.git", "", "git/git%40github.com%3Ao%2Fr.git/HEAD"),
        ("gh/o/r", "", "gh/o/r/HEAD"),
        ("gh/o/r/a/b", "", "gh/o/r/a/b"),
        ("gh/o/r/main", "v1", "gh/o/r/v1"),
        ("git/https%3A%2F%2Fx%2Fr/main", "", "git/https%3A%2F%2Fx%2Fr/main"),
        ("zenodo/10.5281/zenodo.1", "", "zenodo/10.5281/zenodo.1"),
    ],
)
def test_forms(text: str, ref: str, expected: str) -> None:
    """Every form that people paste is understood."""
    assert spec(text, ref) == expected


def test_file_in_the_url() -> None:
    """A link to a file opens that file; --ref tells a branch with a slash from its path."""
    assert parse_address("https://github.com/o/r/blob/main/a/b.ipynb") == Address(
        parse_address("gh/o/r/main").spec, "a/b.ipynb"
    )
    assert parse_address("https://github.com/o/r/tree/a/b/c", ref="a/b") == Address(
        parse_address("gh/o/r/a/b").spec, "c"
    )


def test_other_github_host() -> None:
    """The gh provider's own host is recognised, and no other is when it serves another or none."""
    assert spec("https://git.corp/o/r", github="git.corp") == "gh/o/r/HEAD"
    assert spec("https://github.com/o/r", github="").startswith("git/")


def test_given_provider() -> None:
    """With --provider, the text is that provider's spec as it is."""
    assert spec("10.5281/zenodo.1", provider="zenodo") == "zenodo/10.5281/zenodo.1"
    assert spec("o/r/", "main", provider="gl") == "gl/o/r/main"


def test_folder(tmp_path: Path) -> None:
    """A folder of this machine is a file URL, where folders are allowed."""
    assert spec(str(tmp_path), file_allowed=True) == str(folder_address(tmp_path.resolve()).spec)
    assert spec(f"file://{tmp_path}", "v1", file_allowed=True) == str(folder_address(tmp_path, "v1").spec)


@pytest.mark.parametrize("form", ["{}", "file://{}"])
def test_folder_not_allowed(tmp_path: Path, form: str) -> None:
    """Where folders are not allowed, that is said with the setting that allows them."""
    with pytest.raises(BadSpec, match="may not be launched") as caught:
        parse_address(form.format(tmp_path))
    assert "providers.git.local_folders" in caught.value.hint
    with pytest.raises(BadSpec, match="may not be launched"):
        parse_address(form.format(tmp_path), folders=[tmp_path / "other"])


@pytest.mark.parametrize("form", ["{}", "file://{}"])
def test_folder_of_the_settings(tmp_path: Path, form: str) -> None:
    """Folders that the settings name may be launched, and what is in them."""
    (tmp_path / "course").mkdir()
    found = parse_address(form.format(tmp_path / "course"), folders=[tmp_path])
    assert found == folder_address(tmp_path / "course")


@pytest.mark.parametrize(
    "text", ["", "nonsense", "owner/", "/not/there", "./gone", "gh/owner", "Gh/o/r", "https://github.com/owner"]
)
def test_no_repository(text: str) -> None:
    """What names no repository is refused with an example of what does."""
    with pytest.raises(BadSpec) as caught:
        parse_address(text, file_allowed=True)
    assert caught.value.hint
