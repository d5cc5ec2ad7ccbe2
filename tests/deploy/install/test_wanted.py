"""What the operator asked for, as settings."""

from __future__ import annotations

import tomllib

import pytest

from binderlet.config import Settings
from binderlet.deploy.install.wanted import Wanted, settings_file, storage
from binderlet.errors import ConfigError


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


def test_it_can_be_written_down() -> None:
    """An upgrade reads it again; what only another release knows does no harm."""
    wanted = Wanted("b.org", swap=False, settings={"server.port": 8080})
    assert Wanted.from_json(wanted.as_json()) == wanted
    assert Wanted.from_json('{"domain": "b.org", "colour": "red"}') == Wanted("b.org")


def test_storage() -> None:
    """A URL with a bucket and the keys of the environment become settings; what is missing is said."""
    keys = {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "s"}
    assert storage("", {}) == {}
    found = storage("https://s3.example.org/images/", keys | {"AWS_REGION": "fsn1"})
    settings = Settings.model_validate(tomllib.loads(settings_file(Wanted("b.org", settings=found))))
    s3 = settings.registry.s3
    assert (s3.endpoint, s3.bucket, s3.access_key, s3.region) == ("https://s3.example.org/", "images", "a", "fsn1")
    assert Wanted("", settings=found).has_storage
    assert "region" not in str(storage("https://s3.example.org/images", keys))
    for url in ("https://s3.example.org/", "s3://images", "https://s3.example.org/a/b"):
        with pytest.raises(ConfigError, match="HOST/BUCKET"):
            storage(url, keys)
    with pytest.raises(ConfigError, match="keys are missing"):
        storage("https://s3.example.org/images", {})
