"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path

import pytest

from binderlet.cli.options import parse_keys, read_settings
from binderlet.errors import ConfigError


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No settings file lies about."""
    monkeypatch.chdir(tmp_path)


def test_keys() -> None:
    """Each --set is a key and a value, which may hold more equals signs."""
    assert parse_keys(["server.port=9000", "network.index_url=https://x/?a=b", "a="]) == {
        "server.port": "9000",
        "network.index_url": "https://x/?a=b",
        "a": "",
    }


@pytest.mark.parametrize("text", ["server.port", "=9000", ""])
def test_bad_keys(text: str) -> None:
    """What is not KEY=VALUE is refused with an example."""
    with pytest.raises(ConfigError, match="is not KEY=VALUE"):
        parse_keys([text])


def test_flags_win(tmp_path: Path) -> None:
    """A flag of its own wins over --set, which wins over the file; a flag that was not given changes nothing."""
    file = tmp_path / "own.toml"
    file.write_text("[server]\nport = 1\nhost = '::'\ninstance = 'one'\n", encoding="utf-8")
    loaded = read_settings(file, ["server.port=2", "server.instance=two"], {"server.port": 3, "server.instance": None})
    server = loaded.settings.server
    assert (server.port, server.instance, server.host) == (3, "two", "::")


def test_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment of the process counts."""
    monkeypatch.setenv("BINDERLET_SERVER__PORT", "4")
    assert read_settings().settings.server.port == 4
