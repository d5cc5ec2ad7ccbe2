"""Errors that were put on record."""

from __future__ import annotations

import pytest

from binderlet.errors import BadRepository, BinderletError, BuildFailed, BuildTimeout, MissingProgram
from binderlet.events.restored import restored


@pytest.mark.parametrize("kind", [BuildFailed, BuildTimeout, BadRepository, MissingProgram, BinderletError])
def test_restored(kind: type[BinderletError]) -> None:
    """An error that was put on record by its code comes back as what it was, from anywhere in the tree."""
    error = restored(kind.code, "It failed.", "Do this.")
    assert (type(error), error.message, error.hint) == (kind, "It failed.", "Do this.")


def test_restored_of_another_version() -> None:
    """A code that is unknown here is a build that failed."""
    assert type(restored("from_the_future", "It failed.", "")) is BuildFailed
