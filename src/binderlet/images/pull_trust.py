"""Whether an image that a registry has is the one that was asked for (pure), by the labels of its builder.

Digests say that bytes are those the registry means; labels say that they were built from the repository and commit
that are wanted. Whoever may write to a registry can write any label: only registries that are trusted are asked.
"""

from __future__ import annotations

from collections.abc import Mapping

from binderlet.model import Commit

REPOSITORY = "repo2docker.repo"
REF = "repo2docker.ref"
ENVIRONMENT = "binderlet.environment"
BASE = "binderlet.base"


def why_not(labels: Mapping[str, str], commit: Commit) -> str:
    """Say why an image is not that of the commit; empty where it is."""
    if labels.get(REF, "") != commit.sha:
        return f"its label {REF} is {labels.get(REF, '') or 'absent'}, not {commit.sha}"
    if _same(labels.get(REPOSITORY, "")) not in {_same(commit.repo_url), _same(commit.clone_url)}:
        return f"its label {REPOSITORY} is {labels.get(REPOSITORY, '') or 'absent'}, not {commit.repo_url}"
    return ""


def why_not_key(labels: Mapping[str, str], label: str, key: str) -> str:
    """Say why an image is not that of a key, such as an environment's; empty where it is."""
    return "" if labels.get(label) == key else f"its label {label} is {labels.get(label) or 'absent'}, not {key}"


def _same(url: str) -> str:
    """Give a form in which the usual ways to write one repository's URL are equal."""
    return url.rstrip("/").removesuffix(".git").lower()
