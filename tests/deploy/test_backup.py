"""Backups: what is in them, and that nothing but a whole one is ever restored."""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import io
import json
import sqlite3
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pyrage  # type: ignore[import-untyped]
import pytest

from binderlet.clients.age import Key, seal
from binderlet.database import copy_database
from binderlet.deploy.backup import (
    HISTORY,
    Manifest,
    backup_name,
    install,
    make_backup,
    opened_backup,
)
from binderlet.errors import BackupUnreadable, StoreUnavailable, WouldOverwrite, WrongKey

AT = 1_700_000_000.0
SECRET = "5ec4e7" * 10


@pytest.fixture(scope="module")
def key() -> Key:
    """A pair of keys: quicker than a passphrase, which is slow on purpose."""
    made = pyrage.x25519.Identity.generate()
    return Key(recipients=[str(made.to_public())], identities=[str(made)])


@pytest.fixture
def database(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    """A history that is in use: its last row is in the write-ahead log alone."""
    (tmp_path / "state").mkdir()
    with contextlib.closing(sqlite3.connect(tmp_path / "state" / HISTORY)) as connection:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("CREATE TABLE launches (id TEXT)")
        connection.executemany("INSERT INTO launches VALUES (?)", [(str(number),) for number in range(1000)])
        connection.commit()
        yield connection


@pytest.fixture
def state(tmp_path: Path, database: sqlite3.Connection) -> Path:
    """A state folder of a service that runs."""
    folder = tmp_path / "state"
    (folder / "build-token-secret").write_text(SECRET)
    (folder / "pins.json").write_text("[]")
    (folder / "archive").mkdir()
    (folder / "archive" / "events-2026-01-01.jsonl").write_text("{}\n")
    (folder / "mirrors" / "large").mkdir(parents=True)
    (folder / "mirrors" / "large" / "pack").write_bytes(b"x" * 10_000)
    return folder


SETTINGS = "[server]\nport = 9000\n"


@pytest.fixture
def made(tmp_path: Path, state: Path, key: Key) -> Path:
    """A backup of all that."""
    return make_backup(state, SETTINGS, tmp_path / "backups", key, service="me", at=AT)


def test_a_new_machine_goes_on(made: Path, key: Key, tmp_path: Path) -> None:
    """History, secret, pins, archive and settings come back as they were, readable by the owner alone."""
    assert made.name == "me-20231114T221320Z.tar.gz.age"
    assert made.stat().st_mode & 0o777 == 0o600
    assert [path.name for path in made.parent.iterdir()] == [made.name]
    fresh = tmp_path / "fresh"
    with opened_backup(made, key, tmp_path / "work") as (manifest, files):
        assert (manifest.service, manifest.created_at) == ("me", AT)
        restored = install(manifest, files, fresh, fresh / "restored.toml")
    assert {path.relative_to(fresh).as_posix() for path in restored} == {
        "history.sqlite",
        "build-token-secret",
        "pins.json",
        "archive/events-2026-01-01.jsonl",
        "restored.toml",
    }
    assert (fresh / "build-token-secret").read_text() == SECRET
    assert (fresh / "build-token-secret").stat().st_mode & 0o777 == 0o600
    assert (fresh / "restored.toml").read_text() == SETTINGS
    with contextlib.closing(sqlite3.connect(fresh / HISTORY)) as database:
        assert database.execute("SELECT COUNT(*) FROM launches").fetchone() == (1000,)
    assert list((tmp_path / "work").iterdir()) == []


def test_a_state_folder_with_nothing(tmp_path: Path, key: Key) -> None:
    """A service that has no history yet has a backup, too; settings are restored only where it is said where to."""
    made = make_backup(tmp_path / "none", "", tmp_path / "backups", key, service="me", at=AT)
    with opened_backup(made, key, tmp_path) as (manifest, files):
        assert set(manifest.files) == {"settings.toml"}
        assert install(manifest, files, tmp_path / "fresh", None) == []


def test_nothing_is_overwritten(made: Path, key: Key, tmp_path: Path) -> None:
    """Where one file is there already, none is restored."""
    fresh = tmp_path / "fresh"
    fresh.mkdir()
    (fresh / "pins.json").write_text("mine")
    with (
        opened_backup(made, key, tmp_path) as (manifest, files),
        pytest.raises(WouldOverwrite, match=r"pins\.json"),
    ):
        install(manifest, files, fresh, fresh / "restored.toml")
    assert [path.name for path in fresh.iterdir()] == ["pins.json"]
    assert (fresh / "pins.json").read_text() == "mine"


def test_wrong_key(made: Path, tmp_path: Path) -> None:
    """Another key opens nothing, and it is the key that is said to be wrong."""
    other = Key(identities=[str(pyrage.x25519.Identity.generate())])
    with pytest.raises(WrongKey), opened_backup(made, other, tmp_path):
        pass


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.99])
def test_cut_files(made: Path, key: Key, tmp_path: Path, share: float) -> None:
    """A backup that was not copied to its end is not restored, wherever it was cut."""
    body = made.read_bytes()
    made.write_bytes(body[: int(len(body) * share)])
    with pytest.raises(BackupUnreadable), opened_backup(made, key, tmp_path / "work"):
        pass
    assert list((tmp_path / "work").iterdir()) == []


def test_names(made: Path) -> None:
    """Names of one service sort by time."""
    assert sorted([backup_name("me", AT + 86400), backup_name("me", AT)]) == [made.name, backup_name("me", AT + 86400)]


# What somebody could have made with the public key.


def pack(tmp_path: Path, key: Key, *members: tuple[str, bytes], links: bool = False) -> Path:
    """Seal an archive of these members."""
    with tarfile.open(tmp_path / "packed", "w:gz") as archive:
        for name, content in members:
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            if links and name != "manifest.json":
                entry.type, entry.linkname, entry.size = tarfile.SYMTYPE, "/etc/passwd", 0
            archive.addfile(entry, io.BytesIO(content))
    seal(tmp_path / "packed", tmp_path / "forged", key)
    return tmp_path / "forged"


def manifest(*names: str, **changes: object) -> tuple[str, bytes]:
    """Make a manifest that promises files with nothing in them."""
    empty = {"size": 0, "sha256": "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"}
    body = Manifest("me", AT).as_json() | {"files": dict.fromkeys(names, empty)} | changes
    return "manifest.json", json.dumps(body).encode()


def refused(path: Path, key: Key, tmp_path: Path, match: str) -> None:
    """Check that it is not opened, and that nothing came out of it."""
    with pytest.raises(BackupUnreadable, match=match), opened_backup(path, key, tmp_path / "work"):
        pass
    assert list((tmp_path / "work").iterdir()) == []


@pytest.mark.parametrize(
    "name", ["../evil", "/etc/evil", "archive/../../evil", "archive/..", "archive/", "run/admin.sock", "standby/x/y"]
)
def test_foreign_names(tmp_path: Path, key: Key, name: str) -> None:
    """A file that no backup has is not written, least of all outside."""
    refused(pack(tmp_path, key, manifest(name), (name, b"")), key, tmp_path, "should not be in it")


def test_forged_archives(tmp_path: Path, key: Key, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is not promised, not there, of another content, no file, or of a newer format is refused."""
    refused(pack(tmp_path, key, manifest(), ("pins.json", b"")), key, tmp_path, "should not be in it")
    refused(pack(tmp_path, key, manifest("pins.json")), key, tmp_path, "lacks pins.json")
    refused(pack(tmp_path, key, manifest("pins.json"), ("pins.json", b"x")), key, tmp_path, "not the file")
    refused(pack(tmp_path, key, manifest("pins.json"), ("pins.json", b""), links=True), key, tmp_path, "should not")
    refused(pack(tmp_path, key, ("pins.json", b"")), key, tmp_path, "does not begin")
    refused(pack(tmp_path, key), key, tmp_path, "does not begin")
    refused(pack(tmp_path, key, manifest(format=99)), key, tmp_path, "newer binderlet")
    refused(pack(tmp_path, key, manifest(files=7)), key, tmp_path, "makes no sense")
    refused(pack(tmp_path, key, ("manifest.json", b"[]")), key, tmp_path, "makes no sense")
    refused(pack(tmp_path, key, ("manifest.json", b"{")), key, tmp_path, "cannot be unpacked")
    with tarfile.open(tmp_path / "packed", "w:gz") as archive:
        entry = tarfile.TarInfo("manifest.json")
        entry.type = tarfile.DIRTYPE
        archive.addfile(entry)
    seal(tmp_path / "packed", tmp_path / "forged", key)
    refused(tmp_path / "forged", key, tmp_path, "is no file")
    (tmp_path / "packed").write_bytes(gzip.compress(b"no archive"))
    seal(tmp_path / "packed", tmp_path / "forged", key)
    refused(tmp_path / "forged", key, tmp_path, "cannot be unpacked")


def broken_history(tmp_path: Path, key: Key, content: bytes) -> Path:
    """Make a backup whose history is this."""
    body = {HISTORY: {"size": len(content), "sha256": hashlib.sha256(content).hexdigest()}}
    return pack(tmp_path, key, manifest(files=body), (HISTORY, content))


def test_a_damaged_history(tmp_path: Path, key: Key, state: Path) -> None:
    """SQLite itself looks at the history before it is restored."""
    refused(broken_history(tmp_path, key, b"no database" * 100), key, tmp_path, "cannot be read")
    copy_database(state / HISTORY, tmp_path / "copy")
    body = bytearray((tmp_path / "copy").read_bytes())
    body[4096 + 1 : 4096 + 200] = b"\xff" * 199
    refused(broken_history(tmp_path, key, bytes(body)), key, tmp_path, "damaged|cannot be read")


def test_a_history_of_a_newer_program(tmp_path: Path, key: Key, state: Path) -> None:
    """It is not restored: this program could not use it."""
    copy_database(state / HISTORY, tmp_path / "copy")
    with contextlib.closing(sqlite3.connect(tmp_path / "copy")) as database:
        database.execute("PRAGMA user_version = 1002")
    body = (tmp_path / "copy").read_bytes()
    refused(broken_history(tmp_path, key, body), key, tmp_path, "newer binderlet")


def test_what_cannot_be_copied_or_written(tmp_path: Path, state: Path, key: Key) -> None:
    """A folder that cannot be made: said as such, and no half backup is left."""
    (tmp_path / "file").touch()
    with pytest.raises(StoreUnavailable, match="cannot be written"):
        make_backup(state, "", tmp_path / "file" / "backups", key, service="me", at=AT)
    with (
        opened_backup(make_backup(state, "", tmp_path / "backups", key, service="me", at=AT), key, tmp_path) as (
            found,
            files,
        ),
        pytest.raises(StoreUnavailable, match="cannot be restored"),
    ):
        install(found, files, tmp_path / "file" / "state", None)
