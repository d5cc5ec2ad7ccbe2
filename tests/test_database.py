"""Schemas of databases: migrated step by step, copied before a step that breaks, and put back."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from binderlet import database as database_module
from binderlet.database import (
    Migration,
    Schema,
    connect,
    copies,
    copy_database,
    migrate,
    put_back,
    version_of,
)
from binderlet.errors import StoreUnavailable

FIRST = Migration(("CREATE TABLE rows (id INTEGER PRIMARY KEY)", "CREATE INDEX rows_id ON rows (id)"))
GROWS = Migration(("ALTER TABLE rows ADD COLUMN note TEXT NOT NULL DEFAULT ''",))
BREAKS = Migration(("ALTER TABLE rows RENAME TO lines",), breaks=True)


def schema(*migrations: Migration) -> Schema:
    """Give a schema of these steps."""
    return Schema("test database", "move it away", migrations)


OLD, GROWN, NEW = schema(FIRST), schema(FIRST, GROWS), schema(FIRST, GROWS, BREAKS)


def bring_up(wanted: Schema, path: Path) -> int:
    """Migrate a database; gives the number of steps."""
    with connect(path) as database:
        return migrate(wanted, database, path)


def version(path: Path) -> int:
    """Give a database's version."""
    with connect(path) as database:
        return version_of(database)


def select(path: Path, sql: str) -> list[tuple[object, ...]]:
    """Give rows."""
    with connect(path) as database:
        return database.execute(sql).fetchall()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A database of the first schema, with a hundred rows."""
    place = tmp_path / "some.sqlite"
    bring_up(OLD, place)
    with connect(place) as database, database:
        database.executemany("INSERT INTO rows VALUES (?)", [(number,) for number in range(100)])
    return place


def test_versions() -> None:
    """Each step counts one, each that breaks older programs a thousand more; a first step is an ordinary one."""
    assert (OLD.version, GROWN.version, NEW.version) == (1, 2, 1003)
    assert [NEW.outlook(version) for version in (0, 2, 1003, 1004, 2000)] == [
        "breaks",
        "breaks",
        "fits",
        "fits",
        "newer",
    ]
    assert GROWN.outlook(1) == "grows"
    assert OLD.outlook(2) == "fits", "an older program goes on with what it can live with"


def test_a_new_database(tmp_path: Path) -> None:
    """All steps are done at once, without copies of nothing; then there is nothing to do."""
    place = tmp_path / "new.sqlite"
    assert bring_up(NEW, place) == 3
    assert version(place) == 1003
    assert bring_up(NEW, place) == 0
    assert select(place, "PRAGMA journal_mode") == [("wal",)]
    assert copies(place) == {}


def test_an_older_program_goes_on(path: Path) -> None:
    """A step that breaks nothing needs no copy, and is left as it is by a program that does not know it."""
    assert bring_up(GROWN, path) == 1
    assert select(path, "SELECT count(*), max(note) FROM rows") == [(100, "")]
    assert copies(path) == {}
    assert bring_up(OLD, path) == 0
    assert version(path) == 2


def test_a_step_that_breaks(path: Path) -> None:
    """A copy from before it stays; the older program leaves the new one alone, until the copy is put back."""
    path.chmod(0o600)
    assert bring_up(NEW, path) == 2
    assert select(path, "SELECT count(*) FROM lines") == [(100,)]
    (copied,) = copies(path).values()
    assert copied.name == "some.sqlite.schema-2"
    assert copied.stat().st_mode & 0o777 == 0o600
    with pytest.raises(StoreUnavailable, match=r"newer binderlet \(schema 1003, this one has 2\)") as caught:
        bring_up(GROWN, path)
    assert "binderlet migrate" in caught.value.hint
    assert "move it away" in caught.value.hint

    aside = put_back(GROWN, path, at=77.5)
    assert aside.name == "some.sqlite.newer-1003-77"
    assert select(aside, "SELECT count(*) FROM lines") == [(100,)], "nothing is lost"
    assert select(path, "SELECT count(*) FROM rows") == [(100,)]
    assert bring_up(GROWN, path) == 0
    assert bring_up(NEW, path) == 1


def test_one_copy_is_kept(path: Path) -> None:
    """The copy of an earlier line goes when there is a newer one; other files stay."""
    other = path.with_name("some.sqlite.schema-of-mine")
    other.touch()
    bring_up(NEW, path)
    bring_up(schema(FIRST, GROWS, BREAKS, Migration(("DROP TABLE lines",), breaks=True)), path)
    assert list(copies(path)) == [1003]
    assert other.exists()


def test_nothing_to_put_back(path: Path) -> None:
    """Without a copy the newer database stays in its place."""
    bring_up(NEW, path)
    for copy in copies(path).values():
        copy.unlink()
    with pytest.raises(StoreUnavailable, match="newer binderlet"):
        put_back(OLD, path, at=0)
    assert version(path) == 1003


def test_put_back_while_it_is_used(path: Path) -> None:
    """A database that somebody has open is not taken away."""
    bring_up(NEW, path)
    with connect(path) as user:
        user.execute("SELECT count(*) FROM lines").fetchall()
        with pytest.raises(StoreUnavailable, match="locked") as caught:
            put_back(OLD, path, at=0)
        assert "stop-service" in caught.value.hint
    assert version(path) == 1003


def test_a_step_that_fails(path: Path) -> None:
    """Its statements are undone together; steps before it stay."""
    wrong = Migration(("CREATE TABLE half (id)", "INSERT INTO nowhere VALUES (1)"))
    with pytest.raises(sqlite3.OperationalError, match="nowhere"):
        bring_up(schema(FIRST, GROWS, wrong), path)
    assert version(path) == 2
    assert select(path, "SELECT name FROM sqlite_master WHERE name = 'half'") == []


def test_a_full_disk(path: Path) -> None:
    """A step that finds no room leaves the database as it was, and can be done when there is some."""
    rows = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 20000) SELECT i FROM n"
    fills = f"CREATE TABLE more AS {rows}"
    with pytest.raises(sqlite3.OperationalError, match="full"):
        bring_up(schema(FIRST, Migration(("PRAGMA max_page_count = 5", fills))), path)
    assert version(path) == 1
    assert select(path, "SELECT count(*) FROM rows") == [(100,)]
    assert bring_up(schema(FIRST, Migration((fills,))), path) == 1
    assert select(path, "SELECT count(*) FROM more") == [(20000,)]


def test_no_room_for_the_copy(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without its copy a step that breaks is not begun; no half copy is left."""

    def full(_source: Path, target: Path) -> None:
        target.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(database_module, "copy_database", full)
        with pytest.raises(StoreUnavailable, match="No space left on device"):
            bring_up(NEW, path)
    assert version(path) == 2
    assert sorted(file.name for file in path.parent.iterdir()) == ["some.sqlite"]
    assert bring_up(NEW, path) == 1


KILLED = """
import os, signal, sqlite3, sys
from pathlib import Path
from binderlet.database import Migration, Schema, migrate
path = Path(sys.argv[1])
first = Migration(("CREATE TABLE rows (id INTEGER PRIMARY KEY)", "CREATE INDEX rows_id ON rows (id)"))
step = Migration(("UPDATE rows SET id = id + 1000", "ALTER TABLE rows RENAME TO lines", "SELECT die()"), breaks=True)
database = sqlite3.connect(path)
database.execute("PRAGMA cache_size = 1")
database.create_function("die", 0, lambda: os.kill(os.getpid(), signal.SIGKILL))
migrate(Schema("test database", "", (first, step)), database, path)
"""


def test_killed_in_the_middle(path: Path) -> None:
    """A program that is killed between two statements of a step leaves the database as it was before it."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", KILLED, str(path)], env=environment, check=False)
    assert done.returncode == -signal.SIGKILL
    assert version(path) == 1
    assert select(path, "SELECT min(id), max(id) FROM rows") == [(0, 99)]
    assert bring_up(NEW, path) == 2


def test_two_at_once(path: Path) -> None:
    """Who comes second finds it done: what is to do is looked at again when the other has ended."""
    with connect(path) as one, connect(path) as other:
        steps: list[int] = []

        def overtake(sql: str) -> None:
            if sql == "BEGIN IMMEDIATE":
                steps.append(migrate(GROWN, other, path))

        one.set_trace_callback(overtake)
        assert (migrate(GROWN, one, path), steps) == (0, [1])
    assert version(path) == 2


@pytest.fixture
def in_use(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    """A database that is in use: its last row is in the write-ahead log alone."""
    with contextlib.closing(sqlite3.connect(tmp_path / "used.sqlite")) as database:
        database.execute("PRAGMA journal_mode=WAL")
        database.execute("CREATE TABLE rows (id)")
        database.executemany("INSERT INTO rows VALUES (?)", [(number,) for number in range(1000)])
        database.commit()
        yield database


def test_a_copy_of_what_is_in_use(tmp_path: Path, in_use: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    """A copy is of one moment, and does not stop whoever writes."""
    monkeypatch.setattr(database_module, "PAGES", 1)
    in_use.execute("INSERT INTO rows VALUES ('not committed')")
    copy_database(tmp_path / "used.sqlite", tmp_path / "copy")
    in_use.commit()
    assert select(tmp_path / "copy", "SELECT COUNT(*) FROM rows") == [(1000,)]
    assert select(tmp_path / "copy", "PRAGMA integrity_check") == [("ok",)]


def test_no_database(tmp_path: Path) -> None:
    """A file that is none cannot be copied."""
    (tmp_path / "nothing.sqlite").write_bytes(b"no database" * 100)
    with pytest.raises(StoreUnavailable, match="cannot be copied"):
        copy_database(tmp_path / "nothing.sqlite", tmp_path / "copy")


def test_putting_back_fails(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the file system refuses, the newer database is still in its place."""
    bring_up(NEW, path)
    shutil.copy(next(iter(copies(path).values())), path.with_name("some.sqlite.newer-1003-5"))
    with pytest.raises(StoreUnavailable, match="cannot be put back"):
        put_back(OLD, path, at=5)
    assert version(path) == 1003
