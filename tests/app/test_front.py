"""Where the service is reached."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from binderlet.app.front import keep_secret, visitors_url
from binderlet.config.schema import ServerSettings


@pytest.mark.parametrize(
    ("server", "url"),
    [
        ({"public_url": "https://b.example.org"}, "https://b.example.org/"),
        ({"host": "0.0.0.0", "port": 1234}, "http://localhost:1234/"),
        ({"host": "192.0.2.7", "port": 1234}, "http://192.0.2.7:1234/"),
    ],
)
def test_the_url_is_what_visitors_type(server: dict[str, object], url: str) -> None:
    """The public URL wins; an address that means all is shown as localhost."""
    assert visitors_url(ServerSettings.model_validate(server)) == url


def test_the_secret_is_kept_for_ourselves(tmp_path: Path) -> None:
    """The build token secret is made once, and nobody else on the machine can read it."""
    path = tmp_path / "secret"
    first = keep_secret(path)
    assert keep_secret(path) == first
    assert len(bytes.fromhex(first)) == 32
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
