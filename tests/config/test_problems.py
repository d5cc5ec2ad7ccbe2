"""The sentences about wrong settings."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from binderlet.config.problems import problems, suggestion
from binderlet.config.schema import Settings


def lines(body: dict[str, Any], origins: dict[tuple[str, ...], str] | None = None) -> list[str]:
    """What is said about these settings."""
    with pytest.raises(ValidationError) as caught:
        Settings.model_validate(body)
    return problems(caught.value, origins or {})


@pytest.mark.parametrize(
    ("path", "meant"),
    [
        (("server", "prot"), " Did you mean server.port?"),
        (("serber",), " Did you mean server?"),
        (("memory",), " Did you mean session.memory or builder.memory?"),
        (("providers", "git", "timout"), " Did you mean providers.git.timeout?"),
        (("culling",), " Did you mean cull?"),
        (("session", "pids", "zzzzzzzz"), ""),
        (("nonsense", "x"), ""),
        (("zzz",), ""),
    ],
)
def test_suggestions(path: tuple[str, ...], meant: str) -> None:
    """A typo gets the nearest key of its table, or keys of that name elsewhere."""
    assert suggestion(path) == meant


def test_value_is_shown() -> None:
    """What was written is shown, cut where it is long."""
    assert lines({"server": {"port": "x" * 100}}) == [f"server.port: must be a valid integer, not '{'x' * 59}...."]


def test_origin_of_the_nearest_key() -> None:
    """The origin is that of the value, or of what holds it, or of what it holds."""
    assert lines({"limits": {"banned_specs": ["("]}}, {("limits", "banned_specs"): "flag"})[0].endswith(" (from flag).")
    assert lines({"serve": {"port": 1}}, {("serve", "port"): "flag"}) == [
        "serve: unknown key (from flag). Did you mean server?"
    ]


def test_passwords_are_masked() -> None:
    """A URL with a password shows neither in our sentence nor in what was written."""
    text = " ".join(lines({"server": {"public_url": "ftp://me:hunter2@host"}, "network": {"no_proxy": 5}}))
    assert "hunter2" not in text
    assert "network.no_proxy: must be a valid string, not 5." in text
