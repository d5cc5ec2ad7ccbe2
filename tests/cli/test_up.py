"""``binderlet up``."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import pytest

from binderlet.cli import detach, foreground
from binderlet.cli.address import Address, folder_address, parse_address
from binderlet.config import Settings
from binderlet.config.load import load
from support.command import Command


@dataclass
class Served:
    """What was to be served."""

    calls: list[tuple[Settings, Address | None]] = field(default_factory=list)
    arguments: list[str] = field(default_factory=list)

    def here(self, settings: Settings, wanted: Address | None) -> None:
        """In this process."""
        self.calls.append((settings, wanted))

    def detached(self, settings: Settings, wanted: Address | None, arguments: list[str]) -> None:
        """In another."""
        self.calls.append((settings, wanted))
        self.arguments = arguments


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> Served:
    """Nothing is really served."""
    served = Served()
    monkeypatch.setattr(foreground, "serve_here", served.here)
    monkeypatch.setattr(detach, "serve_detached", served.detached)
    return served


@pytest.fixture
def command(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Command:
    """The command line, where no settings file lies about."""
    monkeypatch.chdir(tmp_path)
    return Command(tmp_path, capsys)


def test_flags(command: Command, served: Served) -> None:
    """The flags are settings."""
    assert command("up", "--port", "9000", "--host", "127.0.0.1", "--public-url", "https://b.org", state=False) == 0
    [(settings, wanted)] = served.calls
    assert (settings.server.port, settings.server.host) == (9000, "127.0.0.1")
    assert settings.server.public_url == "https://b.org/"
    assert wanted is None


def test_launch(command: Command, served: Served) -> None:
    """--launch names what to launch."""
    assert command("up", "--launch", "https://github.com/o/r") == 0
    assert served.calls[0][1] == parse_address("gh/o/r")


def test_example(command: Command, served: Served) -> None:
    """--example makes a repository that may be launched, and opens nothing else of this machine's disk."""
    assert command("up", "--example", "--state", str(command.state / "s"), state=False) == 0
    [(settings, wanted)] = served.calls
    folder = command.state / "s" / "example"
    assert (folder / ".git").is_dir()
    assert wanted == folder_address(folder)
    assert settings.providers.git.local_folders == [folder]
    assert "file" not in settings.providers.git.allowed_protocols


def test_detach(command: Command, served: Served, tmp_path: Path) -> None:
    """With --detach the other process gets the same settings, and we alone do the launch."""
    file = tmp_path / "own.toml"
    file.write_text("[cull]\nidle = '1m'\n", encoding="utf-8")
    arguments = ["up", "--detach", "--config", str(file), "--port", "9000", "--example", "--set", "cull.max_age=1h"]
    assert command(*arguments) == 0
    settings, wanted = served.calls[0]
    assert wanted is not None
    assert settings.cull.idle == 60
    assert served.arguments == [
        "up", "--config", str(file),
        "--set", "cull.max_age=1h", "--set", f"paths.state={tmp_path}", "--set", "server.port=9000",
        "--set", "providers.git.enabled=true", "--set", f'providers.git.local_folders=["{tmp_path}/example"]',
    ]  # fmt: skip
    flags = dict(pair.split("=", 1) for pair in served.arguments[4::2])
    assert load(file, environ={}, flags=flags).settings == settings


def test_detach_plainly(command: Command, served: Served) -> None:
    """Without anything more, the other process gets no more."""
    assert command("up", "-d", state=False) == 0
    assert served.arguments == ["up"]
