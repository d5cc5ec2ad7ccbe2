"""Rows become values."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from binderlet.database import migrate
from binderlet.events.records import BuildRecord, LaunchRecord, SessionRecord
from binderlet.events.store import SCHEMA


@pytest.fixture
def database() -> Iterator[sqlite3.Connection]:
    """Give a database with today's tables."""
    connection = sqlite3.connect(":memory:")
    connection.row_factory = sqlite3.Row
    migrate(SCHEMA, connection, Path(":memory:"))
    yield connection
    connection.close()


def test_each_record_has_its_tables_columns(database: sqlite3.Connection) -> None:
    """A row with nothing but what must be there reads back with the defaults."""
    database.execute("INSERT INTO launches (id, provider, spec, started_at) VALUES ('l', 'gh', 's', 1.0)")
    database.execute("INSERT INTO builds (id, image, repo_url, sha, started_at) VALUES ('b', 'i', 'r', 'c', 1.0)")
    database.execute(
        "INSERT INTO sessions (id, launch_id, provider, spec, repo_url, image, started_at)"
        " VALUES ('s', 'l', 'gh', 's', 'r', 'i', 1.0)"
    )
    launch = LaunchRecord.from_row(database.execute("SELECT * FROM launches").fetchone())
    assert launch == LaunchRecord("l", "gh", "s", 1.0, None, "", "", "", "", "", "", False, False, {})
    assert launch.built is False
    build = BuildRecord.from_row(database.execute("SELECT * FROM builds").fetchone())
    assert build == BuildRecord("b", "i", "r", "c", 1.0, None, "", "", "")
    session = SessionRecord.from_row(database.execute("SELECT * FROM sessions").fetchone())
    assert session == SessionRecord("s", "l", "gh", "s", "r", "i", 1.0, None, None, "", None)


def test_columns_of_a_newer_program_are_left_out(database: sqlite3.Connection) -> None:
    """A record reads what it knows."""
    database.execute("ALTER TABLE builds ADD COLUMN more TEXT")
    database.execute("INSERT INTO builds (id, image, repo_url, sha, started_at) VALUES ('b', 'i', 'r', 'c', 1.0)")
    build = BuildRecord.from_row(database.execute("SELECT * FROM builds").fetchone())
    assert build == BuildRecord("b", "i", "r", "c", 1.0, None, "", "", "")
