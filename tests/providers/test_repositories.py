"""What the git-speaking providers share."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from binderlet.config.providers import GitProviderSettings
from binderlet.errors import BadSpec
from binderlet.model import Commit
from binderlet.providers.repositories import Repositories, decode, owner_of
from support.gitserver import make_repository


def test_decode() -> None:
    """Percent-encoding is undone once."""
    assert decode("a%2Fb%2520%C3%BC") == "a/b%20\u00fc"


@pytest.mark.parametrize("text", ["%FF", "a%20b", "a%0Ab", "a b", "%7F", "%00"])
def test_decode_refuses(text: str) -> None:
    """Spaces, control characters and what is not UTF-8 name nothing."""
    with pytest.raises(BadSpec):
        decode(text)


@pytest.mark.parametrize(
    ("url", "owner"),
    [
        ("https://GitHub.com/Owner/repo", "github.com/owner"),
        ("ssh://git@h:22/a/b/c", "h/a"),
        ("https://u:p@h/x", "h/x"),
        ("file:///srv/git/x", "/srv"),
    ],
)
def test_owner(url: str, owner: str) -> None:
    """Shares count host and first path segment, without case, login or port."""
    assert owner_of(url) == owner


async def test_together(tmp_path: Path) -> None:
    """Resolving and fetching work with the protocols given."""
    sha = make_repository(tmp_path / "r", {"f": "1"})
    url = f"file://{tmp_path}/r"
    repositories = Repositories(
        GitProviderSettings(),
        protocols=("file",),
        mirrors=tmp_path / "m",
        size_limit=10**7,
        environment=os.environ,
    )
    assert await repositories.resolve(url, "main") == sha
    commit = Commit("git", sha, url, url, url, f"x/{sha}", url, "o")
    await repositories.fetch(commit, tmp_path / "out", print)
    assert (tmp_path / "out" / "f").read_text() == "1"
