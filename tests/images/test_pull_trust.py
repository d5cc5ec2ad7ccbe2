"""Whether an image is the one that was asked for, by its labels."""

from __future__ import annotations

from dataclasses import replace

import pytest

from binderlet.images.pull_trust import REF, REPOSITORY, why_not, why_not_key
from support.values import COMMIT

GOOD = {REF: COMMIT.sha, REPOSITORY: COMMIT.repo_url}


@pytest.mark.parametrize("url", [COMMIT.repo_url, f"{COMMIT.repo_url}.git", f"{COMMIT.repo_url.upper()}/"])
def test_the_same_repository(url: str) -> None:
    """However its URL is written, the repository is the same."""
    assert why_not(GOOD | {REPOSITORY: url}, COMMIT) == ""
    assert why_not(GOOD, replace(COMMIT, repo_url="https://else.test/", clone_url=url)) == ""


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        ({}, "absent"),
        (GOOD | {REF: "f" * 40}, "ffff"),
        (GOOD | {REPOSITORY: "https://github.test/other/repo"}, "other/repo"),
        ({REF: COMMIT.sha}, "absent"),
    ],
)
def test_another(labels: dict[str, str], words: str) -> None:
    """An image of another commit or repository, or of none, is not taken, and it is said why."""
    assert words in why_not(labels, COMMIT)


def test_keys() -> None:
    """An environment is the one of its key, or it is not."""
    assert why_not_key({"k": "1"}, "k", "1") == ""
    assert "is 2, not 1" in why_not_key({"k": "2"}, "k", "1")
    assert "absent" in why_not_key({}, "k", "1")
