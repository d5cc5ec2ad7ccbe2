"""``binderlet restore``: a new machine from nothing, by the command line alone."""

from __future__ import annotations

import contextlib
import json
import sqlite3
from pathlib import Path

import pyrage  # type: ignore[import-untyped]
import pytest

from binderlet.deploy.lock import InstanceLock
from support.command import Command

PAIR = pyrage.x25519.Identity.generate()
KEY = ("--set", f'backup.recipients=["{PAIR.to_public()}"]')


@pytest.fixture
def command(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Command:
    """The command line, where no settings file lies about."""
    monkeypatch.chdir(tmp_path)
    return Command(tmp_path / "old", capsys)


@pytest.fixture
def fresh(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Command:
    """The command line of a new machine."""
    return Command(tmp_path / "fresh", capsys)


@pytest.fixture
def name(tmp_path: Path) -> tuple[str, ...]:
    """A service's name that no other test has, and where its backups are."""
    return ("--set", f"server.instance=t{tmp_path.name[-20:].replace('_', '-')}", "--set", f"backup.to={tmp_path}/b")


@pytest.fixture
def made(command: Command, tmp_path: Path, name: tuple[str, ...]) -> Path:
    """A backup of a service with a history; and the secret key in a file as age writes it."""
    command.state.mkdir()
    with contextlib.closing(sqlite3.connect(command.state / "history.sqlite")) as database:
        database.execute("CREATE TABLE launches (id TEXT)")
        database.commit()
    (command.state / "build-token-secret").write_text("secret")
    (tmp_path / "key").write_text(f"# created: today\n# public key: {PAIR.to_public()}\n{PAIR}\n")
    assert command("backup", *KEY, *name, "--set", "server.port=9123") == 0
    (found,) = (tmp_path / "b").iterdir()
    return found


def test_a_new_machine(fresh: Command, tmp_path: Path, made: Path, name: tuple[str, ...]) -> None:
    """The newest backup of the place comes back into an empty folder; a second time nothing is overwritten."""
    key = ("--identity-file", str(tmp_path / "key"), *name)
    assert fresh("restore", "latest", *key, "--verify") == 0
    assert f"{made.name} is whole: 3 files of t" in fresh.out
    assert not (tmp_path / "fresh" / "history.sqlite").exists()
    assert fresh("restore", "latest", *key) == 0
    assert f"Restored {tmp_path}/fresh/history.sqlite" in fresh.out
    assert (tmp_path / "fresh" / "build-token-secret").read_text() == "secret"
    assert "port = 9123" in (tmp_path / "fresh" / "restored.toml").read_text()
    assert f"binderlet up -c {tmp_path}/fresh/restored.toml" in fresh.out
    assert fresh("restore", made.name, *key) == 1
    assert "would overwrite" in fresh.err
    assert fresh("restore", "latest", *key, "--verify", "--json") == 0
    assert json.loads(fresh.out)["restored"] == []


def test_from_a_file(fresh: Command, tmp_path: Path, made: Path, name: tuple[str, ...]) -> None:
    """A file needs no place; settings go where they are wanted."""
    where = ("--settings-to", str(tmp_path / "mine.toml"))
    assert fresh("restore", str(made), *where, "--identity-file", str(tmp_path / "key"), *name) == 0
    assert (tmp_path / "mine.toml").exists()


def test_what_goes_wrong(fresh: Command, tmp_path: Path, made: Path, name: tuple[str, ...]) -> None:
    """A wrong key, a damaged file, none at all, no key: each is said, and nothing is left behind."""
    other = tmp_path / "other"
    other.write_text(str(pyrage.x25519.Identity.generate()))
    assert fresh("restore", str(made), *name, "--identity-file", str(other)) == 1
    assert "does not open" in fresh.err
    (tmp_path / "pass").write_text("x")
    assert fresh("restore", str(made), *name, "--passphrase-file", str(tmp_path / "pass")) == 1
    assert "--identity-file" in fresh.err
    assert fresh("restore", str(made), *name) == 2
    assert "Nothing is given that decrypts" in fresh.err
    other.write_text("# only a comment\n")
    assert fresh("restore", str(made), *name, "--identity-file", str(other)) == 2
    assert fresh("restore", str(made), *name, "--identity-file", str(tmp_path / "nowhere")) == 2
    good = ("--identity-file", str(tmp_path / "key"))
    assert fresh("restore", "nothing", *name, *good) == 1
    assert "There is no backup 'nothing'" in fresh.err
    made.write_bytes(made.read_bytes()[:-5])
    assert fresh("restore", str(made), *name, *good) == 1
    assert "damaged or was cut off" in fresh.err
    assert list((tmp_path / "fresh").iterdir()) == []


def test_not_beside_a_service(fresh: Command, tmp_path: Path, made: Path, name: tuple[str, ...]) -> None:
    """Into the folder of a service that runs nothing is restored."""
    with InstanceLock("somebody-else", tmp_path / "fresh"):
        assert fresh("restore", "latest", "--identity-file", str(tmp_path / "key"), *name) == 1
    assert "uses the state folder" in fresh.err
