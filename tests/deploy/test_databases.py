"""The databases of a state folder: those of every release, migrated and readable, and the way back."""

from __future__ import annotations

import asyncio
import json
import re
import sqlite3
from dataclasses import replace
from pathlib import Path

import pytest

from binderlet import __version__
from binderlet.database import Migration, Schema, connect, migrate
from binderlet.deploy import databases
from binderlet.deploy.databases import DATABASES, fit, look
from binderlet.errors import StoreUnavailable
from support.releases import EXPECTED, RELEASES, fill, load, missing, schema_of, told

Columns = dict[str, dict[str, tuple[object, ...]]]
"""Type, whether it must be given, default and place in the key of each column of each table."""
SRC = Path(__file__).parents[2] / "src"
STORED = sorted(folder.name for folder in RELEASES.iterdir())
MENDS = "add a migration, raise the version in pyproject.toml, and run scripts/dump-release"


def fresh(name: str, state: Path) -> Path:
    """Make an empty database as this program has it."""
    path = state / name
    with connect(path) as database:
        migrate(DATABASES[name], database, path)
    return path


@pytest.mark.parametrize("release", STORED)
async def test_every_release_can_be_read(tmp_path: Path, release: str) -> None:
    """What a release left is migrated, has the schema of a new database, and reads as it did then."""
    state = tmp_path / "state"

    def migrated() -> object:
        load(RELEASES / release, state)
        said = [fit(found, at=0) for found in look(state)]
        assert len(said) == len(DATABASES)
        (tmp_path / "new").mkdir()
        for name in DATABASES:
            assert schema_of(state / name) == schema_of(fresh(name, tmp_path / "new"))
        return json.loads((RELEASES / release / EXPECTED).read_text(encoding="utf-8"))

    expected = await asyncio.to_thread(migrated)
    assert list(missing(expected, await told(state))) == []


def test_this_release_is_stored(tmp_path: Path) -> None:
    """A schema that changed without a release of its own would meet databases that nobody tests."""
    assert __version__ in STORED, "run scripts/dump-release"
    load(RELEASES / __version__, tmp_path)
    (tmp_path / "new").mkdir()
    for name in DATABASES:
        assert schema_of(tmp_path / name) == schema_of(fresh(name, tmp_path / "new")), MENDS


async def test_what_is_stored_is_what_the_service_writes(tmp_path: Path) -> None:
    """The stored release has something in every table, and its state folder reads the same when it is made anew."""

    def empty_tables() -> list[str]:
        found: list[str] = []
        for name in DATABASES:
            with connect(tmp_path / "stored" / name) as database:
                for (table,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall():
                    ((count,),) = database.execute(f"SELECT count(*) FROM {table}").fetchall()  # noqa: S608 - our own names
                    found += [] if count else [table]
        return found

    await asyncio.to_thread(load, RELEASES / __version__, tmp_path / "stored")
    assert await asyncio.to_thread(empty_tables) == []
    await asyncio.to_thread((tmp_path / "new").mkdir)
    await fill(tmp_path / "new")
    new, stored = await told(tmp_path / "new"), await told(tmp_path / "stored")
    for one in (new, stored):
        for reservation in one["reservations"]:
            del reservation["id"]  # made at random
    assert new == stored


@pytest.mark.parametrize("name", DATABASES)
def test_steps_that_claim_to_break_nothing(tmp_path: Path, name: str) -> None:
    """Between two lines tables and columns are only added, and whoever does not know a column may leave it out."""
    schema = DATABASES[name]
    before: Columns = {}
    for steps, step in enumerate(schema.migrations, start=1):
        with connect(tmp_path / name) as database:
            migrate(replace(schema, migrations=schema.migrations[:steps]), database, tmp_path / name)
            after = columns(database)
        if not step.breaks:
            assert breaches(before, after) == []
        before = after


def columns(database: sqlite3.Connection) -> Columns:
    """Give the columns of each table, and its unique indexes."""
    found: Columns = {}
    for (table,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall():
        rows = database.execute(f"PRAGMA table_info({table})").fetchall()
        found[table] = {name: tuple(rest) for _, name, *rest in rows}
        for _, index, is_unique, *_ in database.execute(f"PRAGMA index_list({table})").fetchall():
            if is_unique:
                found[table][f"unique {index}"] = ("", 1, None, 0)
    return found


def breaches(before: Columns, after: Columns) -> list[str]:
    """Say what an older program could not live with."""
    found = []
    for table, known in before.items():
        here = after.get(table, {})
        found += [f"{table}.{name} is another" for name, kind in known.items() if here.get(name) != kind]
        for name, (_, must_be_given, default, _) in here.items():
            if name not in known and must_be_given and default is None:
                found.append(f"{table}.{name} has no default")
    return found


def test_breaches_are_found() -> None:
    """The rule of the test above sees what is taken away, changed, or demanded."""
    one: Columns = {"a": {"x": ("TEXT", 1, None, 0)}}
    assert breaches(one, one | {"b": {}}) == []
    assert breaches(one, {}) == ["a.x is another"]
    assert breaches(one, {"a": one["a"] | {"y": ("TEXT", 1, "''", 0), "z": ("TEXT", 0, None, 0)}}) == []
    assert breaches(one, {"a": one["a"] | {"y": ("TEXT", 1, None, 0)}}) == ["a.y has no default"]


def grown(schema: Schema) -> Schema:
    """Give a schema of a later release of the same line: a column more in each table, and a table more."""
    tables = re.findall(r"CREATE TABLE (\w+)", " ".join(" ".join(step.statements) for step in schema.migrations))
    more = tuple(f"ALTER TABLE {table} ADD COLUMN later TEXT NOT NULL DEFAULT ''" for table in tables)
    return replace(schema, migrations=(*schema.migrations, Migration((*more, "CREATE TABLE later (id)"))))


async def test_this_program_lives_with_a_later_one_of_its_line(tmp_path: Path) -> None:
    """It reads and writes databases that a later release added to: going back needs nothing."""

    def grow() -> None:
        (tmp_path / "new").mkdir()
        for name, schema in DATABASES.items():
            path = tmp_path / "new" / name
            with connect(path) as database:
                migrate(grown(schema), database, path)

    await asyncio.to_thread(grow)
    await asyncio.to_thread((tmp_path / "plain").mkdir)
    await fill(tmp_path / "new")
    await fill(tmp_path / "plain")
    expected = await told(tmp_path / "plain")
    del expected["reservations"]
    assert list(missing(expected, await told(tmp_path / "new"))) == []


def test_every_database_is_known() -> None:
    """No source makes tables but those whose schemas are migrated here."""
    making = {path for path in SRC.rglob("*.py") if "CREATE TABLE" in path.read_text(encoding="utf-8")}
    assert sorted(path.relative_to(SRC).as_posix() for path in making) == [
        "binderlet/dashboard/store.py",
        "binderlet/events/store.py",
    ]


@pytest.fixture
def later(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A state folder, after which the history has a step that breaks older programs."""
    path = fresh("history.sqlite", tmp_path)
    schema = DATABASES["history.sqlite"]
    breaks = replace(schema, migrations=(*schema.migrations, Migration(("DROP TABLE builds",), breaks=True)))
    monkeypatch.setattr(databases, "DATABASES", {path.name: breaks})
    return tmp_path


def test_there_and_back(later: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A step that breaks needs a quiet database, keeps a copy, and is taken back by the older program."""
    (found,) = look(later)
    assert found.needs_quiet
    assert str(found) == "history.sqlite: schema 1 becomes 1002; a copy from before it stays beside it"
    assert fit(found, at=5) == (
        f"history.sqlite: schema 1 became 1002; the one from before it is kept as {later}/history.sqlite.schema-1"
    )
    (found,) = look(later)
    assert (found.needs_quiet, fit(found, at=5)) == (False, "history.sqlite: schema 1002 fits")
    monkeypatch.undo()
    (found,) = look(later)
    assert found.needs_quiet
    assert str(found).endswith("is of a newer program; the copy from before it is put back")
    assert fit(found, at=5).endswith(f"the newer one is now {later}/history.sqlite.newer-1002-5")
    (found,) = look(later)
    assert str(found) == "history.sqlite: schema 1 fits"


def test_what_grows_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A step that older programs can live with may be done while the service runs, and keeps no copy."""
    fresh("history.sqlite", tmp_path)
    monkeypatch.setattr(databases, "DATABASES", {"history.sqlite": grown(DATABASES["history.sqlite"])})
    (found,) = look(tmp_path)
    assert not found.needs_quiet
    assert str(found) == "history.sqlite: schema 1 becomes 2, which older programs can live with"
    assert fit(found, at=5) == "history.sqlite: schema 1 became 2"


def test_a_file_that_is_no_database(tmp_path: Path) -> None:
    """It is said, with what to do, and left as it is."""
    (tmp_path / "statistics.sqlite").write_bytes(b"no database" * 100)
    with pytest.raises(StoreUnavailable, match="not a database") as caught:
        list(look(tmp_path))
    assert "import the archives again" in caught.value.hint


def test_a_step_that_fails(later: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The database is as it was, and the error says that nothing is lost."""
    schema = DATABASES["history.sqlite"]
    wrong = replace(schema, migrations=(*schema.migrations, Migration(("INSERT INTO nowhere VALUES (1)",))))
    monkeypatch.setattr(databases, "DATABASES", {"history.sqlite": wrong})
    (found,) = look(later)
    with pytest.raises(StoreUnavailable, match="nowhere") as caught:
        fit(found, at=0)
    assert "Nothing is lost" in caught.value.hint
    assert [each.version for each in look(later)] == [1]
