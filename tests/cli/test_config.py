"""``binderlet config``."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from binderlet.config.redact import MASK
from binderlet.config.reference import render_example, render_reference
from support.command import Command

SECRET = "0123456789abcdef" * 4


@pytest.fixture
def command(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Command:
    """The command line, where no settings file lies about."""
    monkeypatch.chdir(tmp_path)
    return Command(tmp_path, capsys)


def test_show(command: Command) -> None:
    """Every setting is printed with its value and origin."""
    assert command("config", "show", "--set", "server.port=9000") == 0
    assert "server.port = 9000  # flag\n" in command.out
    assert 'cull.idle = "10m"  # default\n' in command.out


def test_show_changed(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    """With --changed only what is no default."""
    monkeypatch.setenv("BINDERLET_CULL__IDLE", "90s")
    assert command("config", "show", "--changed", state=False) == 0
    assert command.out == 'cull.idle = "90s"  # environment BINDERLET_CULL__IDLE\n'


def test_show_json(command: Command) -> None:
    """The same as JSON."""
    assert command("config", "show", "--json") == 0
    assert json.loads(command.out)["paths.state"] == {"value": str(command.state), "origin": "flag"}


@pytest.mark.parametrize("form", [(), ("--json",), ("--changed",)])
def test_secrets_are_masked(command: Command, form: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    """No form of it shows a secret."""
    monkeypatch.setenv("BINDERLET_SECURITY__BUILD_TOKEN_SECRET", SECRET)
    monkeypatch.setenv("BINDERLET_PROVIDERS__GH__TOKEN", "ghp_hunter2")
    monkeypatch.setenv("BINDERLET_NETWORK__HTTPS_PROXY", "http://me:hunter2@proxy:3128")
    assert command("config", "show", *form) == 0
    assert SECRET not in command.out + command.err
    assert "hunter2" not in command.out + command.err
    assert command.out.count(MASK) == 3


def test_check(command: Command, tmp_path: Path) -> None:
    """Right settings are said to be right, and where they came from."""
    (tmp_path / "binderlet.toml").write_text("[server]\nport = 9000\n", encoding="utf-8")
    assert command("config", "check", state=False) == 0
    assert command.out == "The settings are right (binderlet.toml, 1 values set).\n"
    assert command("config", "check", "--config", str(tmp_path / "binderlet.toml")) == 0


def test_check_without_a_file(command: Command) -> None:
    """Without a file the defaults are checked."""
    assert command("config", "check", state=False) == 0
    assert "no file; defaults" in command.out


def test_check_finds_all(command: Command) -> None:
    """All that is wrong is told at once, on standard error, with exit code 2."""
    assert command("config", "check", "--set", "server.prot=1", "--set", "cull.idle=x") == 2
    assert "server.prot: unknown key (from flag). Did you mean server.port?" in command.err
    assert "cull.idle: 'x' is not a duration" in command.err
    assert "hint:" in command.err


def test_check_finds_missing_certificates(command: Command) -> None:
    """A certificate file that cannot be read is found without starting anything."""
    assert command("config", "check", "--set", "network.ca_bundle=/gone.pem") == 2
    assert command.err.startswith("error: network.ca_bundle: /gone.pem")


def test_docs(command: Command) -> None:
    """The reference page and the example are printed as they are in the repository."""
    assert command("config", "docs", state=False) == 0
    assert command.out == render_reference()
    assert command("config", "docs", "--example", state=False) == 0
    assert command.out == render_example()
