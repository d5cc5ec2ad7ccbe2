"""``binderlet deploy`` and ``cloud-init``."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from binderlet.cli.deploy import arguments
from binderlet.deploy.install import release, remote
from binderlet.deploy.install.release import Release
from binderlet.deploy.install.remote import Remote
from support.command import Command


@pytest.fixture
def command(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Command:
    """The command line, where no settings file lies about."""
    monkeypatch.chdir(tmp_path)
    return Command(tmp_path, capsys)


def test_what_install_is_told_there(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same options, and ssh's own for the way there."""
    seen = list[object]()
    monkeypatch.setattr(release, "this_release", lambda *_: Release(Path("w"), Path("l")))
    monkeypatch.setattr(remote, "deploy", lambda *given: seen.extend(given[:3]))
    options = ("--domain", "b.org", "--no-swap", "--ssh-port", "2222", "--ssh-option", "User=root", "--set", "a.b=c")
    assert command("deploy", "host", *options, state=False) == 0, command.err
    there, _, given = seen
    assert isinstance(there, Remote)
    assert list(there.options) == ["-p", "2222", "-o", "User=root"]
    assert given == ["--domain", "b.org", "--no-swap", "--ssh-port", "2222", "--set", "a.b=c"]


def test_user_data(command: Command) -> None:
    """It installs this version, or what is named."""
    assert command("cloud-init", "--domain", "b.org", "--set", "a.b=c", state=False) == 0
    assert "binderlet==" in yaml.safe_load(command.out)["runcmd"][2]
    assert yaml.safe_load(command.out)["runcmd"][3].endswith("install --domain b.org --set a.b=c")
    assert command("cloud-init", "--source", "https://example.org/b.whl", state=False) == 0
    assert "https://example.org/b.whl" in command.out


def test_defaults_are_not_said() -> None:
    """What is as 'install' has it by itself needs no option."""
    assert arguments(domain="", email="", swap=True) == []
    assert arguments(domain="b", email="e", swap=False) == ["--domain", "b", "--email", "e", "--no-swap"]
