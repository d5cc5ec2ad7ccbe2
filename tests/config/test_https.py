"""Settings of HTTPS."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from binderlet.config.https import HttpsSettings


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"mode": "acme", "domains": ["Binder.Example.org."]},
        {"mode": "acme", "challenge": "dns", "dns_hook": "/h", "domains": ["*.b.example.org"]},
        {"mode": "acme", "challenge": "dns", "dns_plugin": "cloudflare"},
        {"mode": "files", "certificate": "/c", "key": "/k"},
    ],
)
def test_accepted(settings: dict[str, object]) -> None:
    """What works is taken; names are kept in small letters."""
    made = HttpsSettings.model_validate(settings)
    assert all(name == name.lower().rstrip(".") for name in made.domains)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"mode": "files", "certificate": "/c"}, "needs both"),
        ({"mode": "acme", "challenge": "dns"}, "needs dns_plugin or dns_hook"),
        ({"mode": "acme", "domains": ["*.example.org"]}, "needs challenge 'dns'"),
        ({"domains": ["https://b.example.org"]}, "not a host name"),
        ({"domains": ["a..b"]}, "not a host name"),
        ({"dns_plugin": "--evil"}, "pattern"),
    ],
)
def test_refused(settings: dict[str, object], words: str) -> None:
    """What cannot work is refused with a reason."""
    with pytest.raises(ValidationError, match=words):
        HttpsSettings.model_validate(settings)


def test_own_files_only_where_they_are_used() -> None:
    """Certificate and key count in their mode alone."""
    files = {"certificate": "/c", "key": "/k"}
    assert HttpsSettings.model_validate({"mode": "files"} | files).own_files == (Path("/c"), Path("/k"))
    assert HttpsSettings.model_validate(files).own_files is None
