"""The flat list of settings."""

from __future__ import annotations

from pathlib import Path

import pytest

from binderlet.config.keys import field_at, keys, kind_of, section_at, sections
from binderlet.config.schema import ServerSettings

KEYS = {key.name: key for key in keys()}


def test_key() -> None:
    """A key has its dotted name, its variable, its default as it is written, and words for its values."""
    key = KEYS["providers.git.ref_cache"]
    assert key.environment == "BINDERLET_PROVIDERS__GIT__REF_CACHE"
    assert (key.default, key.kind) == ("15s", "duration")
    assert key.description


def test_every_key_is_documented() -> None:
    """Every key has a description in full sentences, and no section is without one."""
    assert [key.name for key in keys() if not key.description.endswith(".")] == []
    assert [path for path, section in sections() if not section.__doc__] == []


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("server.port", "whole number"),
        ("session.memory", "size"),
        ("engine.kind", 'one of "docker", "kubernetes", "fake"'),
        ("limits.banned_specs", "list of: text"),
        ("session.environment", "table of: text"),
        ("paths.state", "path"),
        ("providers.gh.token", "secret text"),
        ("events.archive", "true or false"),
    ],
)
def test_kinds(name: str, kind: str) -> None:
    """What may be written is said in words."""
    assert KEYS[name].kind == kind


def test_unknown_kind() -> None:
    """A type without words fails here rather than in the reference page."""
    with pytest.raises(KeyError):
        kind_of(complex)


def test_sections() -> None:
    """Nested tables have paths of their own."""
    paths = [path for path, _ in sections()]
    assert ("providers", "git") in paths
    assert () not in paths
    assert section_at(ServerSettings) is ServerSettings
    assert section_at(Path) is None
    assert section_at(list[str]) is None


@pytest.mark.parametrize(
    ("path", "found", "depth"),
    [
        (("server", "port"), True, 2),
        (("session", "environment", "HOME"), True, 2),
        (("server", "prot"), False, 2),
        (("nonsense", "x"), False, 1),
        (("server",), False, 1),
    ],
)
def test_field_at(path: tuple[str, ...], found: bool, depth: int) -> None:  # noqa: FBT001 - a table
    """A path is followed to its value, and what comes after a value belongs to the value."""
    field, reached = field_at(path)
    assert (field is not None, reached) == (found, depth)
