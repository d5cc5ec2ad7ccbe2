"""``binderlet deploy`` and ``cloud-init``."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from binderlet.deploy.install import release, remote
from binderlet.deploy.install.release import Release
from binderlet.deploy.install.remote import Remote
from support.command import Command


@pytest.fixture
def command(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Command:
    """The command line, where no settings file lies about."""
    monkeypatch.chdir(tmp_path)
    return Command(tmp_path, capsys)


def test_the_way_there(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ssh's own options are its own; without a port its settings decide."""
    seen = list[tuple[object, bool]]()
    monkeypatch.setattr(release, "this_release", lambda *_: Release(Path("w"), Path("l")))
    monkeypatch.setattr(remote, "deploy", lambda *given, dry_run: seen.append((given[0], dry_run)))
    assert command("deploy", "host", "--ssh-port", "2222", "--ssh-option", "User=root", state=False) == 0, command.err
    assert command("deploy", "host", "--dry-run", state=False) == 0
    (there, dry), (plain, plain_dry) = seen
    assert isinstance(there, Remote)
    assert isinstance(plain, Remote)
    assert list(there.options) == ["-p", "2222", "-o", "User=root"]
    assert list(plain.options) == []
    assert (dry, plain_dry) == (False, True)


def test_user_data(command: Command) -> None:
    """It installs this version, or what is named."""
    assert command("cloud-init", "--domain", "b.org", "--set", "limits.sessions=7", state=False) == 0
    assert "binderlet==" in yaml.safe_load(command.out)["runcmd"][1]
    assert command("cloud-init", "--source", "https://example.org/b.whl", state=False) == 0
    assert "https://example.org/b.whl" in command.out


def test_user_data_with_keys(command: Command) -> None:
    """It is said, where a redirected output does not hide it."""
    assert command("cloud-init", "--set", "registry.s3.secret_key=s", state=False) == 0
    assert "This user-data holds keys" in command.err


def test_nonsense_is_refused_here(command: Command) -> None:
    """Not on the other machine, an hour later."""
    for name in (["deploy", "host"], ["cloud-init"]):
        assert command(*name, "--domain", "https://b.org/", state=False) == 2
        assert "is not a host name" in command.err
