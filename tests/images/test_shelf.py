"""Two names for one registry."""

from __future__ import annotations

import pytest

from binderlet.images.shelf import Shelf, host_of, placed


@pytest.mark.parametrize(
    ("name", "host"),
    [
        ("binder/i-", ""),
        ("i-", ""),
        ("r:5000/i-", "r:5000"),
        ("r.example/i-", "r.example"),
        ("localhost/i-", "localhost"),
    ],
)
def test_host_of(name: str, host: str) -> None:
    """A folder is no host."""
    assert host_of(name) == host


def test_placed() -> None:
    """A name gets the registry's host and folder, unless it has a host already; without a registry it stays."""
    assert placed("https://r.example/binder/", "b/i-x:1") == "r.example/binder/b/i-x:1"
    assert placed("https://r.example/binder/", "other.example/i-x:1") == "other.example/i-x:1"
    assert placed("", "b/i-x:1") == "b/i-x:1"


@pytest.mark.parametrize(
    ("name", "reference"),
    [
        ("localhost:5000/binder/i-x:1", "registry:5000/binder/i-x:1"),
        ("binderlet/env:abc", "registry:5000/binder/binderlet/env:abc"),
        ("other.example/x:1", "registry:5000/binder/other.example/x:1"),
    ],
)
def test_reference(name: str, reference: str) -> None:
    """A name that nodes use is turned into the one that pods use; others get the folder."""
    assert Shelf("registry:5000", "localhost:5000", "binder/").reference(name) == reference


def test_repr_shows_no_password() -> None:
    """It may be logged."""
    assert "secret" not in repr(Shelf("a", "a", password="secret"))
