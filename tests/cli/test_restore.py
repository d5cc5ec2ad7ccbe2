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
    return Command(tmp_path, capsys)


@pytest.fixture
def name(tmp_path: Path) -> tuple[str, ...]:
    """A service's name that no other test has, and where its backups are."""
    return ("--set", f"server.instance=t{tmp_path.name[-20:].replace('_', '-')}", "--set", f"backup.to={tmp_path}/b")


@pytest.fixture
def made(command: Command, tmp_path: Path, name: tuple[str, ...]) -> Path:
    """A backup of a service with a history; and the secret key in a file as age writes it."""
    command.state.mkdir(exist_ok=True)
    with contextlib.closing(sqlite3.connect(command.state / "history.sqlite")) as database:
        database.execute("CREATE TABLE launches (id TEXT)")
        database.commit()
    (command.state / "build-token-secret").write_text("secret")
    (tmp_path / "key").write_text(f"# created: today\n# public key: {PAIR.to_public()}\n{PAIR}\n")
    assert command("backup", *KEY, *name, "--set", "server.port=9123") == 0
    (found,) = (tmp_path / "b").iterdir()
    return found


def test_a_new_machine(command: Command, tmp_path: Path, made: Path, name: tuple[str, ...]) -> None:
    """The newest backup of the place comes back into an empty folder; a second time nothing is overwritten."""
    fresh = ("--set", f"paths.state={tmp_path}/fresh", "--identity-file", str(tmp_path / "key"), *name)
    assert command("restore", "latest", *fresh, "--verify") == 0
    assert f"{made.name} is whole: 3 files of t" in command.out
    assert not (tmp_path / "fresh" / "history.sqlite").exists()
    assert command("restore", "latest", *fresh) == 0
    assert f"Restored {tmp_path}/fresh/history.sqlite" in command.out
    assert (tmp_path / "fresh" / "build-token-secret").read_text() == "secret"
    assert "port = 9123" in (tmp_path / "fresh" / "restored.toml").read_text()
    assert f"binderlet up -c {tmp_path}/fresh/restored.toml" in command.out
    assert command("restore", made.name, *fresh) == 1
    assert "would overwrite" in command.err
    assert command("restore", "latest", *fresh, "--verify", "--json") == 0
    assert json.loads(command.out)["restored"] == []


def test_from_a_file(command: Command, tmp_path: Path, made: Path, name: tuple[str, ...]) -> None:
    """A file needs no place; settings go where they are wanted."""
    where = ("--set", f"paths.state={tmp_path}/fresh", "--settings-to", str(tmp_path / "mine.toml"))
    assert command("restore", str(made), *where, "--identity-file", str(tmp_path / "key"), *name) == 0
    assert (tmp_path / "mine.toml").exists()


def test_what_goes_wrong(command: Command, tmp_path: Path, made: Path, name: tuple[str, ...]) -> None:
    """A wrong key, a damaged file, none at all, no key: each is said, and nothing is left behind."""
    fresh = ("--set", f"paths.state={tmp_path}/fresh", *name)
    other = tmp_path / "other"
    other.write_text(str(pyrage.x25519.Identity.generate()))
    assert command("restore", str(made), *fresh, "--identity-file", str(other)) == 1
    assert "does not open" in command.err
    (tmp_path / "pass").write_text("x")
    assert command("restore", str(made), *fresh, "--passphrase-file", str(tmp_path / "pass")) == 1
    assert "--identity-file" in command.err
    assert command("restore", str(made), *fresh) == 2
    assert "Nothing is given that decrypts" in command.err
    other.write_text("# only a comment\n")
    assert command("restore", str(made), *fresh, "--identity-file", str(other)) == 2
    assert command("restore", str(made), *fresh, "--identity-file", str(tmp_path / "nowhere")) == 2
    good = ("--identity-file", str(tmp_path / "key"))
    assert command("restore", "nothing", *fresh, *good) == 1
    assert "There is no backup 'nothing'" in command.err
    made.write_bytes(made.read_bytes()[:-5])
    assert command("restore", str(made), *fresh, *good) == 1
    assert "damaged or was cut off" in command.err
    assert list((tmp_path / "fresh").iterdir()) == []


def test_not_beside_a_service(command: Command, tmp_path: Path, made: Path, name: tuple[str, ...]) -> None:
    """Into the folder of a service that runs nothing is restored."""
    fresh = ("--set", f"paths.state={tmp_path}/fresh", "--identity-file", str(tmp_path / "key"), *name)
    with InstanceLock("somebody-else", tmp_path / "fresh"):
        assert command("restore", "latest", *fresh) == 1
    assert "uses the state folder" in command.err
