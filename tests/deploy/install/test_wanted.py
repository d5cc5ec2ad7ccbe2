"""What the operator asked for, as settings."""

from __future__ import annotations

import tomllib

import pytest

from binderlet.config import Settings
from binderlet.deploy.install.wanted import Wanted, settings_file


@pytest.mark.parametrize(
    ("wanted", "url", "mode"),
    [
        (Wanted("b.example.org", "a@example.org"), "https://b.example.org/", "acme"),
        (Wanted("b.example.org", https=False), "http://b.example.org/", "off"),
        (Wanted(""), "", "off"),
        (Wanted("b.org", settings={"server.port": 8080, "pages.title": 'Ünser "B"'}), "https://b.org/", "acme"),
    ],
)
def test_the_file_is_good_settings(wanted: Wanted, url: str, mode: str) -> None:
    """The file is TOML that the service takes as it is, with what was asked for in it."""
    settings = Settings.model_validate(tomllib.loads(settings_file(wanted)))
    assert settings.server.public_url == url == wanted.url
    assert settings.https.mode == mode
    assert settings.server.port == wanted.settings.get("server.port", 80)
    assert settings.pages.title == wanted.settings.get("pages.title", "binderlet")
    assert settings.https.email == (wanted.email if mode == "acme" else "")
