"""Two names for one registry."""

from __future__ import annotations

import pytest

from binderlet.images.shelf import Shelf


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
