"""The tree of errors: its drawing is true, and every leaf can be acted on."""

from __future__ import annotations

import re

import pytest

from binderlet import errors
from binderlet.errors import BinderletError, RateLimited, Refused, SessionDied


def tree(root: type[BinderletError], depth: int = 0) -> list[tuple[int, str]]:
    """The classes in the order they were written, each with its depth."""
    found = [(depth, root.__name__)]
    for child in root.__subclasses__():
        if child.__module__ == errors.__name__:
            found += tree(child, depth + 1)
    return found


def drawing() -> list[tuple[int, str]]:
    """The same, read from the module's docstring."""
    found = []
    for line in (errors.__doc__ or "").splitlines():
        match = re.match(r"^    (?P<branches>(?:[|`] {3}|    )*(?:[|`]-- )?)(?P<name>[A-Z]\w+)", line)
        if match:
            found.append((len(match["branches"]) // 4, match["name"]))
    return found


LEAVES = [
    error
    for _, name in tree(BinderletError)
    if (error := getattr(errors, name)) and not [c for c in error.__subclasses__() if c.__module__ == errors.__name__]
]


def test_the_drawing_is_true() -> None:
    """The drawing in the docstring has exactly the classes, in their order and at their depth."""
    assert drawing() == tree(BinderletError)


def test_codes_are_unique() -> None:
    """A program can tell errors apart by their code."""
    codes = [getattr(errors, name).code for _, name in tree(BinderletError)]
    assert len(codes) == len(set(codes))


@pytest.mark.parametrize("leaf", LEAVES, ids=lambda leaf: leaf.__name__)
def test_leaves(leaf: type[BinderletError]) -> None:
    """Every leaf has an HTTP status, a code, a hint that can be acted on, and a docstring."""
    assert 400 <= leaf.status < 600
    assert re.fullmatch(r"[a-z_]+", leaf.code)
    assert leaf.__dict__.get("code"), "a leaf has a code of its own"
    assert leaf.default_hint
    assert leaf.__doc__


def test_hint() -> None:
    """An error's own hint wins over that of its kind."""
    assert SessionDied("It ended.").hint == SessionDied.default_hint
    assert SessionDied("It ended.", hint="Look here.").hint == "Look here."
    assert str(SessionDied("It ended.")) == SessionDied("It ended.").message == "It ended."


def test_retry_after() -> None:
    """A refusal says when to come back, where it knows."""
    assert RateLimited("Too many.", retry_after=5).retry_after == 5
    assert Refused("No.").retry_after is None
