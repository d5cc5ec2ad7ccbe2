"""Ids are readable, valid everywhere they go, and cannot be guessed."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from binderlet.sessions.ids import new_launch_id, new_session_id, new_token, repo_name


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("https://github.com/owner/repo", "owner-repo"),
        ("https://github.com/Owner/My_Repo.git", "owner-my-repo"),
        ("git@example.org:group/project.git", "group-project"),
        ("ssh://git@example.org/group/project", "group-project"),
        ("file:///srv/repositories/Caf%C3%A9%20notes", "srv-repositories-caf-notes"),
        ("https://example.org/" + "a" * 20 + "/" + "b" * 20, "a" * 15 + "-" + "b" * 15),
        ("https://example.org/", "repo"),
        ("https://example.org/日本語", "repo"),
    ],
)
def test_an_id_begins_with_the_repositorys_path(url: str, name: str) -> None:
    """As with BinderHub, people can tell from the address which repository they are in."""
    assert repo_name(url) == name
    assert re.fullmatch(re.escape(name) + r"-[a-z0-9]{12}", new_session_id(url))


@given(st.text())
def test_any_url_makes_a_valid_id(url: str) -> None:
    """Whatever a repository is called, the id is a label of a host name and a segment of a path."""
    assert re.fullmatch(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", new_session_id(url))


def test_ids_and_tokens_do_not_repeat() -> None:
    """Each is random: 62 bits of an id, 128 of a launch's, 192 of a token."""
    assert len({new_session_id("https://x/a/b") for _ in range(1000)}) == 1000
    assert len({new_token() for _ in range(1000)}) == 1000
    assert re.fullmatch(r"[A-Za-z0-9_-]{32}", new_token())
    assert re.fullmatch(r"[0-9a-f]{32}", new_launch_id())


@pytest.mark.parametrize("url", ["http://[", "https://[::1/a/b"])
def test_a_broken_url_still_makes_an_id(url: str) -> None:
    """What no parser takes was resolved by its provider all the same."""
    assert re.fullmatch(r"[a-z0-9-]+", new_session_id(url))
