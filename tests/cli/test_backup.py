"""``binderlet backup``."""

from __future__ import annotations

import json
from pathlib import Path

import pyrage  # type: ignore[import-untyped]
import pytest

from binderlet.cli.backup import place_of, read_secret
from binderlet.config import Settings
from binderlet.deploy.backup_places import BucketPlace
from binderlet.errors import ConfigError
from support.command import Command

RECIPIENT = str(pyrage.x25519.Identity.generate().to_public())


@pytest.fixture
def command(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Command:
    """The command line, where no settings file lies about."""
    monkeypatch.chdir(tmp_path)
    return Command(tmp_path, capsys)


def recipients() -> tuple[str, ...]:
    """Give the option that sets a public key."""
    return ("--set", f'backup.recipients=["{RECIPIENT}"]')


def test_make_and_list(command: Command, tmp_path: Path) -> None:
    """A backup is made and listed; as JSON, too; the oldest goes."""
    to = ("--to", str(tmp_path / "b"))
    assert command("backup", "--list", *to) == 0
    assert command.out == "There are no backups.\n"
    assert command("backup", *to, *recipients()) == 0
    assert command.out.startswith("Made binderlet-")
    (made,) = (tmp_path / "b").iterdir()
    made.rename(made.with_name("binderlet-20200101T000000Z.tar.gz.age"))
    assert command("backup", *to, *recipients(), "--json", "--set", "backup.keep=1") == 0
    result = json.loads(command.out)
    assert result["removed"] == ["binderlet-20200101T000000Z.tar.gz.age"]
    assert command("backup", "--list", *to) == 0
    assert command.out.startswith(f"{result['name']}, {result['size']} bytes, ")
    assert command("backup", "--list", "--json", *to) == 0
    assert [one["name"] for one in json.loads(command.out)] == [result["name"]]
    old = tmp_path / "b" / "binderlet-20200101T000000Z.tar.gz.age"
    old.touch()
    assert command("backup", *to, *recipients(), "--set", "backup.keep=1") == 0
    assert "Removed the old binderlet-20200101T000000Z" in command.out


def test_a_passphrase_from_a_file(command: Command, tmp_path: Path) -> None:
    """The passphrase need not be in the settings."""
    (tmp_path / "pass").write_text("correct horse\n")
    assert command("backup", "--to", str(tmp_path / "b"), "--passphrase-file", str(tmp_path / "pass")) == 0


def test_what_is_missing(command: Command, tmp_path: Path) -> None:
    """Without a place, a key or a readable file there is no backup, and it is said why."""
    assert command("backup", *recipients()) == 2
    assert "backup.to" in command.err
    assert command("backup", "--to", str(tmp_path)) == 2
    assert "nothing is given that encrypts it" in command.err
    (tmp_path / "empty").touch()
    for path, match in ((tmp_path / "nowhere", "cannot be read"), (tmp_path / "empty", "empty first line")):
        with pytest.raises(ConfigError, match=match):
            read_secret(path)


def test_the_bucket() -> None:
    """The bucket is that of the images."""
    s3 = {"endpoint": "https://s3.example.org", "bucket": "b", "access_key": "a", "secret_key": "s"}
    assert isinstance(place_of(Settings.model_validate({"registry": {"s3": s3}}), "bucket"), BucketPlace)


def test_only_when_it_is_due(command: Command, tmp_path: Path) -> None:
    """As the timer asks every hour: nothing without backup.every, one when it is time, and no second one."""
    assert command("backup", "--if-due") == 0
    assert command.out == "backup.every is 0: none is made.\n"
    often = ("--if-due", "--set", f"backup.to={tmp_path}/b", "--set", "backup.every=1d", *recipients())
    assert command("backup", *often) == 0
    assert command.out.startswith("Made binderlet-")
    assert command("backup", *often) == 0
    assert command.out == "The next backup is due in 24.0 h.\n"
    assert len(list((tmp_path / "b").iterdir())) == 1
