"""``binderlet first-files``, as units run it."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.command import Command


@pytest.fixture
def command(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Command:
    """The command line, where no settings file lies about."""
    monkeypatch.chdir(tmp_path)
    return Command(tmp_path, capsys)


def test_haproxys(command: Command) -> None:
    """HAProxy's folder is filled."""
    assert command("first-files", "--set", "system.haproxy=true") == 0
    assert "frontend visitors" in (command.state / "run" / "haproxy.cfg").read_text()


def test_the_registrys(command: Command) -> None:
    """The registry's folder is filled, where object storage is set."""
    assert command("first-files", "--registry") == 2
    assert "no object storage is set" in command.err
    keys = {"endpoint": "http://127.0.0.1:9/", "bucket": "b", "access_key": "a", "secret_key": "s"}
    options = [part for key, value in keys.items() for part in ("--set", f"registry.s3.{key}={value}")]
    assert command("first-files", "--registry", "--set", "system.registry=true", *options) == 0
    assert (command.state / "registry" / "environment").exists()
    assert '"bucket": "b"' in (command.state / "registry" / "registry.json").read_text()
