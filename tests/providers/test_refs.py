"""Names of refs, as tables."""

from __future__ import annotations

import subprocess

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from binderlet.errors import BadSpec
from binderlet.providers.refs import candidates, check_ref, find, is_full_sha, is_short_sha

SHA = "0123456789abcdef0123456789ABCDEF01234567"


@pytest.mark.parametrize(
    ("ref", "full", "short"),
    [
        (SHA, True, False),
        (SHA + "zzz", False, False),
        (SHA + "0", False, False),
        (SHA + "\n", False, False),
        (SHA[:39], False, True),
        ("abcd", False, True),
        ("abc", False, False),
        ("main", False, False),
    ],
)
def test_commit_ids(ref: str, *, full: bool, short: bool) -> None:
    """Only exactly 40 hexadecimal digits are a whole id, 4 to 39 may be a short one."""
    assert (is_full_sha(ref), is_short_sha(ref)) == (full, short)


@pytest.mark.parametrize(
    "ref", ["main", "a/main", "v1.0", "feature/#12", "\u00fc", "HEAD", "refs/pull/1/head", "a@b", "a.b"]
)
def test_possible(ref: str) -> None:
    """What git allows passes."""
    check_ref(ref)


@pytest.mark.parametrize(
    "ref",
    ["", "a b", "a\n", "a\x7f", "a~", "a^", "a:b", "a?", "a*", "a[", "a\\b", "a..b", "a@{1}", "a//b", "/a", "a/", "-a",
     "a.", ".a", "a/.b", "a.lock", "a.lock/b", "@", "x" * 1025],
)  # fmt: skip
def test_impossible(ref: str) -> None:
    """What git could never have as a name is refused."""
    with pytest.raises(BadSpec, match="cannot be the name"):
        check_ref(ref)


@settings(max_examples=30, deadline=None)
@given(st.text(alphabet="ab/.@{-~l\u00fcock", min_size=1, max_size=8))
def test_agrees_with_git(ref: str) -> None:
    """The check that git has says the same, but for a leading hyphen, which only branches may not have."""
    git = subprocess.run(["git", "check-ref-format", f"refs/heads/{ref}"], check=False).returncode == 0
    try:
        check_ref(ref)
    except BadSpec:
        assert not git or ref[0] == "-" or ref == "@"
    else:
        assert git


@pytest.mark.parametrize(
    ("ref", "names"),
    [
        ("HEAD", ("HEAD",)),
        ("refs/x/y", ("refs/x/y",)),
        ("main", ("refs/heads/main", "refs/tags/main", "refs/main")),
    ],
)
def test_candidates(ref: str, names: tuple[str, ...]) -> None:
    """A branch comes before a tag, a full name is taken as it is."""
    assert candidates(ref) == names


@pytest.mark.parametrize(
    ("ref", "sha"),
    [
        ("main", "1"),
        ("both", "2"),
        ("v1", "5"),
        ("pull/1/head", "6"),
        ("HEAD", "7"),
        ("ain", None),
        ("heads/main", "1"),
    ],
)
def test_find(ref: str, sha: str | None) -> None:
    """The first candidate that exists wins; tags are peeled."""
    advertised = {
        "refs/heads/main": "1",
        "refs/heads/both": "2",
        "refs/tags/both": "3",
        "refs/tags/v1": "4",
        "refs/tags/v1^{}": "5",
        "refs/pull/1/head": "6",
        "HEAD": "7",
    }
    assert find(ref, advertised) == sha
