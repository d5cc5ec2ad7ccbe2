"""The settings themselves: defaults are valid, values that cannot work are refused."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from binderlet.config.schema import Settings

SECRET = "0123456789abcdef" * 4


def test_defaults() -> None:
    """The defaults alone make valid settings."""
    assert Settings().server.port == 8585


def test_frozen() -> None:
    """Settings do not change after loading."""
    with pytest.raises(ValidationError, match="frozen"):
        setattr(Settings().server, "port", 1)  # noqa: B010 - mypy knows that it is read-only


@pytest.mark.parametrize(
    ("section", "key", "value", "kept"),
    [
        ("server", "public_url", "https://b.example.org", "https://b.example.org/"),
        ("server", "badge_base_url", "https://b.example.org/x/", "https://b.example.org/x/"),
        ("server", "public_url", "", ""),
        ("engine", "subnet", "10.89.0.0/16", "10.89.0.0/16"),
        ("engine", "subnet", "", ""),
        ("limits", "banned_specs", ["gh/spam/.*"], ["gh/spam/.*"]),
        ("cull", "idle", "90s", 90),
        ("session", "memory", "1G", 1024**3),
    ],
)
def test_accepted(section: str, key: str, value: Any, kept: Any) -> None:  # noqa: ANN401 - a table of values
    """Values are normalised as they are read."""
    settings = Settings.model_validate({section: {key: value}})
    assert getattr(getattr(settings, section), key) == kept


@pytest.mark.parametrize(
    ("section", "key", "value"),
    [
        ("server", "public_url", "binder.example.org"),
        ("server", "public_url", "ftp://binder.example.org"),
        ("server", "public_url", "https://"),
        ("server", "public_url", "https://example.org/binder/"),
        ("server", "badge_base_url", "https://x?query"),
        ("server", "instance", "Upper Case"),
        ("engine", "subnet", "10.89.0.1/16"),
        ("limits", "banned_specs", ["("]),
        ("security", "build_token_secret", "hunter2"),
        ("security", "build_token_secret", "abc"),
        ("providers", "git", {"local_folders": ["relative"]}),
        ("nonsense", "key", 1),
    ],
)
def test_refused(section: str, key: str, value: Any) -> None:  # noqa: ANN401 - a table of values
    """Values that cannot work are refused."""
    with pytest.raises(ValidationError):
        Settings.model_validate({section: {key: value}})


def test_secrets_do_not_print() -> None:
    """No way of printing settings shows a secret."""
    settings = Settings.model_validate(
        {"security": {"build_token_secret": SECRET}, "providers": {"gh": {"token": "ghp_hunter2"}}}
    )
    shown = repr(settings) + str(settings) + settings.model_dump_json() + str(settings.model_dump())
    assert SECRET not in shown
    assert "hunter2" not in shown
    assert settings.providers.gh.token.get_secret_value() == "ghp_hunter2"
