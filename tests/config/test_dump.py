"""Settings as TOML that loads as the same settings."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from binderlet.config import Settings
from binderlet.config.dump import as_toml
from binderlet.config.load import load

PEER = {"prefix": "registry.example.org/binder/r2d-", "username": "u", "password": "p\"'\\\n\x7fü"}
S3 = {"endpoint": "https://s3.example.org/", "bucket": "b", "access_key": "a", "secret_key": "s3cr3t"}


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"server": {"port": 9000, "cors_allow_origin": ""}, "hibernate": {"enabled": False}},
        {"registry": {"s3": S3, "peers": [PEER, PEER]}, "paths": {"state": "/var/lib/b"}},
        {"session": {"environment": {"A b": "1", "C": 'x"y'}}, "cull": {"idle": "90s"}, "disk": {"budget": "80G"}},
        {"security": {"build_token_secret": "ab" * 32}, "limits": {"banned_specs": ["gh/a/.*", "git/\\d+"]}},
    ],
)
def test_there_and_back(values: dict[str, Any], tmp_path: Path) -> None:
    """Whatever is set, secrets included, is the same after writing and loading; defaults are left out."""
    settings = Settings.model_validate(values)
    file = tmp_path / "binderlet.toml"
    file.write_text(as_toml(settings), encoding="utf-8")
    assert load(file, environ={}).settings == settings
    assert "instance" not in file.read_text(encoding="utf-8")
