"""What was resolved, and what is written down of it."""

from __future__ import annotations

import json
import tomllib
from dataclasses import replace

import pytest

from binderlet.builder import resolution
from binderlet.builder.resolution import Resolution

WHEEL = {"url": "https://files.test/a-1-py3-none-any.whl", "size": 7, "hashes": {"sha256": "ab"}}
ONE = {"name": "a", "version": "1", "wheels": [WHEEL, WHEEL | {"size": 5}]}
TEXT = """
[[packages]]
name = "a"
version = "1"
wheels = [{ url = "https://files.test/a-1-py3-none-any.whl", size = 7, hashes = { sha256 = "ab" } }]

[[packages]]
name = "from-a-folder"
directory = { path = "." }
"""


def test_read() -> None:
    """Packages with a version count."""
    found = resolution.read(TEXT)
    assert found.pins == {"a==1"}
    assert found.sizes == {"a==1": 7}


def test_instructions() -> None:
    """They say what to install, from where, and how large it is."""
    found = Resolution((ONE,), "https://index.test/simple")
    wheel = {"url": WHEEL["url"], "sha256": "ab"}
    assert json.loads(found.instructions) == {
        "index": "https://index.test/simple",
        "packages": [{"name": "a", "version": "1", "size": 7, "wheels": [wheel, wheel]}],
    }


@pytest.mark.parametrize(
    "package",
    [
        {"name": "a", "version": "1"},
        {"name": "a", "version": "1", "wheels": []},
        {"name": "a", "version": "1", "wheels": [{"url": "https://x/a.whl"}]},
        {"name": "a", "version": "1", "wheels": [{"path": "a.whl", "hashes": {"sha256": "ab"}}]},
        ONE | {"wheels": [WHEEL] * 8000},
    ],
)
def test_no_instructions(package: dict[str, object]) -> None:
    """Without a wheel, its address or its hash, or where it is too much, the build step resolves again."""
    assert not Resolution((ONE, package), "https://index.test/simple").instructions


def test_no_instructions_for_several_indexes() -> None:
    """Which of several indexes a package came from is not known."""
    assert not replace(Resolution((ONE,), "https://index.test/simple"), index="").instructions


def test_sizes() -> None:
    """Where the index does not tell, it is 0."""
    assert Resolution(({"name": "a", "version": "1"},)).sizes == {"a==1": 0}


def test_preferences() -> None:
    """They are a file of the same kind."""
    found = tomllib.loads(resolution.preferences(["a==1", "b==2.0"]))
    assert found["packages"] == [{"name": "a", "version": "1"}, {"name": "b", "version": "2.0"}]
