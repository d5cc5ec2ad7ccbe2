"""What the operator asked for, as settings."""

from __future__ import annotations

import tomllib

import pytest

from binderlet.config import Settings
from binderlet.deploy.install.wanted import Wanted, check, membership, settings_file, storage, unlike, web_ports
from binderlet.errors import ConfigError


@pytest.mark.parametrize(
    ("wanted", "url", "mode"),
    [
        (Wanted("b.example.org", "a@example.org"), "https://b.example.org/", "acme"),
        (Wanted("b.example.org", https=False), "http://b.example.org/", "off"),
        (Wanted(""), "", "off"),
        (Wanted("", settings={"server.public_url": "http://192.0.2.7/"}), "http://192.0.2.7/", "off"),
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


def test_what_is_not_asked_for_again_stays() -> None:
    """Settings come on top of those from before."""
    before = Wanted("b.org", ssh_port=2222, settings={"a.b": 1, "a.c": 2})
    now = before.changed({"email": "a@b.org", "settings": {"a.c": 3}})
    assert now == Wanted("b.org", "a@b.org", ssh_port=2222, settings={"a.b": 1, "a.c": 3})
    assert before.changed({}) == before


def test_a_member_of_a_federation() -> None:
    """Its launches are counted under its own name."""
    assert membership("", "b.org") == {}
    assert membership("https://f.org/", "") == {"federation.url": "https://f.org/"}
    check(Wanted("b.org", settings=membership("https://f.org/", "b.org")))


@pytest.mark.parametrize(
    ("wanted", "words"),
    [
        (Wanted("https://b.org/"), "--domain: 'https://b.org/' is not a host name"),
        (Wanted("192.0.2.7"), "an address gets no certificate"),
        (Wanted(settings={"limits.session": 5}), "limits.session: unknown key"),
        (Wanted(settings={"registry.s3.secret_key": 5}), "registry.s3.secret_key: "),
        (Wanted(settings={"port": 5}), "--set: port: is not SECTION.KEY"),
        (Wanted(settings={"pages.title": None}), "--set: pages.title: is not"),
    ],
)
def test_nonsense_is_told_before_anything_is_done(wanted: Wanted, words: str) -> None:
    """The service would not start with it."""
    with pytest.raises(ConfigError) as error:
        check(wanted)
    assert words in error.value.message


def test_an_address_without_certificates() -> None:
    """It is fine for plain http."""
    check(Wanted("192.0.2.7", https=False))


def test_what_a_settings_file_has_otherwise() -> None:
    """Only what was asked for is compared; values, which may be secret, are not told."""
    wanted = Wanted("b.org", settings={"pages.title": "B"})
    assert unlike(wanted, settings_file(wanted) + "\n[cull]\nidle = 7\n") == []
    assert unlike(wanted, settings_file(Wanted("c.org"))) == ["server.public_url", "pages.title"]
    assert unlike(wanted, "no toml") == []


def test_ports_of_visitors() -> None:
    """The usual ones, and those of the settings."""
    assert web_ports(Wanted(settings={"server.port": 8080, "https.port": "x"})) == {80, 443, 8080}
