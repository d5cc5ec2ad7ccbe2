"""What one that does not lead makes of the sessions that it sees."""

from __future__ import annotations

from dataclasses import replace

import pytest

from binderlet.model import Route, Session, SessionState
from binderlet.pair.follow import Change, compare, not_announced, routes_of

SESSION = Session(
    id="s",
    token="t",
    image="i",
    launch_id="l",
    provider="gh",
    spec="o/r/HEAD",
    repo_url="u",
    created_at=100.0,
    state=SessionState.RUNNING,
    address="10.0.0.1:8888",
)


@pytest.mark.parametrize(
    ("session", "routes"),
    [
        (SESSION, {"s": "10.0.0.1:8888"}),
        (replace(SESSION, standby="key"), {"s": "10.0.0.1:8888"}),
        (replace(SESSION, state=SessionState.STARTING), {}),
        (replace(SESSION, state=SessionState.ENDED), {}),
        (replace(SESSION, address=""), {}),
        (replace(SESSION, address="[fd00::1]:8888"), {}),
        (replace(SESSION, id="Not an id"), {}),
    ],
)
def test_routes_of(session: Session, routes: dict[str, str]) -> None:
    """Every session that runs has a route, standbys too, as who adopted them is not known here."""
    assert routes_of([session]) == routes


@pytest.mark.parametrize(
    ("have", "wanted", "change"),
    [
        ({}, {}, Change()),
        ({"a": "1"}, {"a": "1"}, Change()),
        ({"a": "1"}, {"a": "2"}, Change(add=(Route("a", "2"),))),
        ({"a": "1", "b": "2"}, {"c": "3"}, Change(add=(Route("c", "3"),), remove=("a", "b"))),
    ],
)
def test_compare(have: dict[str, str], wanted: dict[str, str], change: Change) -> None:
    """What is missing or wrong is set, what nobody wants is removed."""
    assert compare(have, wanted) == change


@pytest.mark.parametrize(
    ("session", "announced", "found"),
    [
        (SESSION, set(), {"s"}),
        (SESSION, {"s"}, set()),
        (replace(SESSION, standby="key"), set(), set()),
        (replace(SESSION, created_at=10.0), set(), set()),
    ],
)
def test_not_announced(session: Session, announced: set[str], found: set[str]) -> None:
    """A launch may be unfinished where its session is young, and the leader had not led visitors to it."""
    assert not_announced([session], announced, now=110.0, start_timeout=60.0) == found
