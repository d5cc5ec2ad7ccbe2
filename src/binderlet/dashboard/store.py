"""Counted launches in one SQLite file: a row for each day and member, with its counts as small compressed columns.

A year of ten million launches takes some megabytes, and a row is read in a few microseconds, so the service can answer
from it without a library or memory of its own for that. Files are taken in as a whole or not at all, each once:
taking one in again replaces what it gave before. Of a day and member that several sources have, the one with most
launches counts: sources may lack launches, none has too many.
"""

from __future__ import annotations

import json
import sqlite3
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from binderlet.dashboard.tallies import DayCount, Tallies, pack_counts, pack_minutes, unpack_counts, unpack_minutes
from binderlet.database import Migration, Schema, connect, migrate
from binderlet.errors import StoreUnavailable

SCHEMA = Schema(
    title="statistics",
    otherwise="move the file away, as it holds counts alone, and import the archives again",
    migrations=(
        Migration(
            (
                "CREATE TABLE names (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE)",
                """
                CREATE TABLE files (
                    source TEXT NOT NULL, name TEXT NOT NULL, version TEXT NOT NULL, events INTEGER NOT NULL,
                    skipped INTEGER NOT NULL, PRIMARY KEY (source, name)
                ) WITHOUT ROWID
                """,
                """
                CREATE TABLE tallies (
                    day INTEGER NOT NULL, member TEXT NOT NULL, source TEXT NOT NULL, file TEXT NOT NULL,
                    launches INTEGER NOT NULL, failures INTEGER NOT NULL, minutes BLOB NOT NULL,
                    repositories BLOB NOT NULL, PRIMARY KEY (day, member, source, file)
                ) WITHOUT ROWID
                """,
                "CREATE INDEX tallies_file ON tallies (source, file)",
                "CREATE TABLE own (day INTEGER PRIMARY KEY, body BLOB NOT NULL)",
                "CREATE TABLE beats (slot INTEGER PRIMARY KEY, ok INTEGER NOT NULL)",
            )
        ),
    ),
)
BEAT = 300.0
"""Seconds: whether the service runs is noted this often."""

PUT_TALLY = """
INSERT INTO tallies (day, member, source, file, launches, failures, minutes, repositories)
VALUES (?, ?, ?, ?, ?, ?, ?, ?)
"""
PUT_FILE = "INSERT OR REPLACE INTO files (source, name, version, events, skipped) VALUES (?, ?, ?, ?, ?)"
BEST = """
SELECT day, member, source, sum(launches) AS launches, sum(failures) AS failures FROM tallies
WHERE day BETWEEN ? AND ? GROUP BY day, member, source ORDER BY day, member, launches, source
"""


class StatisticsStore:
    """The file ``path``; every call opens it anew, from any thread or process.

    Raises:
        StoreUnavailable: it cannot be read or written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with connect(self.path) as database:
                migrate(SCHEMA, database, self.path)
                database.execute("PRAGMA synchronous=NORMAL")
                with database:
                    yield database
        except (sqlite3.Error, OSError) as error:
            hint = "It holds counts alone: move it away, and import the archives again."
            raise StoreUnavailable(f"The statistics {self.path} cannot be used: {error}.", hint=hint) from error

    def hold(self) -> sqlite3.Connection:
        """Open the file and do nothing: until this is closed, SQLite does not tidy it up after each other call."""
        with self._open():
            database = sqlite3.connect(self.path, check_same_thread=False)
        database.execute("SELECT count(*) FROM sqlite_master").fetchone()
        return database

    def versions(self, source: str) -> dict[str, str]:
        """Give the files of a source that were taken in, and in which version."""
        with self._open() as database:
            return dict(database.execute("SELECT name, version FROM files WHERE source = ?", (source,)))

    def take(self, source: str, name: str, version: str, tallies: Tallies, skipped: int = 0) -> int:
        """Take in what a file comes to, instead of what it came to before; gives its launches."""
        events = sum(tally.launches + tally.failures for tally in tallies.values())
        with self._open() as database:
            database.execute("DELETE FROM tallies WHERE source = ? AND file = ?", (source, name))
            numbers = _numbers(database, {repo for tally in tallies.values() for repo in tally.repositories})
            for (day, member), tally in tallies.items():
                counts = {numbers[repo]: count for repo, count in tally.repositories.items()}
                row = (day, member, source, name, tally.launches, tally.failures)
                packed = (pack_minutes(tally.minutes), pack_counts(counts))
                database.execute(PUT_TALLY, row + packed)
            database.execute(PUT_FILE, (source, name, version, events, skipped))
        return events

    def days(self, first: int, last: int) -> list[DayCount]:
        """Give the days and members in a range, each from the source that has most of it."""
        with self._open() as database:
            return list(_best(database, first, last).values())

    def minutes(self, first: int, last: int, members: Iterable[str] | None = None) -> dict[int, list[int]]:
        """Give the launches per minute of each day, of these members together or of all."""
        wanted = None if members is None else set(members)
        found: dict[int, list[int]] = {}
        with self._open() as database:
            for day, packed in _columns(database, first, last, wanted, "minutes"):
                flat = unpack_minutes(packed)
                before = found.get(day)
                found[day] = list(flat) if before is None else [a + b for a, b in zip(before, flat, strict=True)]
        return found

    def hours(self, first: int, last: int, members: Iterable[str] | None = None) -> dict[int, list[int]]:
        """Give the launches per hour of each day, of these members together or of all."""
        wanted = None if members is None else set(members)
        found: dict[int, list[int]] = {}
        with self._open() as database:
            for day, packed in _columns(database, first, last, wanted, "minutes"):
                flat = unpack_minutes(packed)
                hours = found.setdefault(day, [0] * 24)
                for hour in range(24):
                    hours[hour] += sum(flat[hour * 60 : hour * 60 + 60])
        return found

    def repositories(self, first: int, last: int, members: Iterable[str] | None = None) -> Counter[str]:
        """Give the launches of each repository."""
        wanted = None if members is None else set(members)
        counts: Counter[int] = Counter()
        with self._open() as database:
            for _, packed in _columns(database, first, last, wanted, "repositories"):
                for number, count in unpack_counts(packed):
                    counts[number] += count
            names = dict(database.execute("SELECT id, name FROM names"))
        return Counter({names[number]: count for number, count in counts.items()})

    def first_days(self) -> dict[str, int]:
        """Give the first day of which there are launches of each member."""
        with self._open() as database:
            return dict(database.execute("SELECT member, min(day) FROM tallies WHERE launches > 0 GROUP BY member"))

    def extent(self) -> tuple[int, int] | None:
        """Give the first and the last day of which there is anything."""
        with self._open() as database:
            sql = "SELECT min(day), max(day) FROM (SELECT day FROM tallies UNION SELECT day FROM own)"
            first, last = database.execute(sql).fetchone()
        return None if first is None else (first, last)

    def sources(self) -> list[tuple[str, int, int, int]]:
        """Give each source with its number of files, events and skipped lines."""
        with self._open() as database:
            sql = "SELECT source, count(*), sum(events), sum(skipped) FROM files GROUP BY source ORDER BY source"
            return list(database.execute(sql))

    def forget(self, source: str) -> int:
        """Forget a source; gives the number of its files."""
        with self._open() as database:
            database.execute("DELETE FROM tallies WHERE source = ?", (source,))
            return database.execute("DELETE FROM files WHERE source = ?", (source,)).rowcount

    def put_own(self, days: Mapping[int, Mapping[str, Any]]) -> None:
        """Keep what this service itself did on these days, instead of what was kept of them."""
        rows = [(day, zlib.compress(json.dumps(body).encode())) for day, body in days.items()]
        with self._open() as database:
            database.executemany("INSERT OR REPLACE INTO own (day, body) VALUES (?, ?)", rows)

    def beat(self, now: float, *, ok: bool) -> None:
        """Note that the service runs, and whether it is well; once each ``BEAT`` seconds."""
        with self._open() as database:
            database.execute("INSERT OR REPLACE INTO beats (slot, ok) VALUES (?, ?)", (int(now / BEAT), ok))

    def beats(self, begins: float, ends: float) -> dict[int, bool]:
        """Give the slots of ``BEAT`` seconds in which the service ran, and whether it was well."""
        with self._open() as database:
            sql = "SELECT slot, ok FROM beats WHERE slot >= ? AND slot < ? ORDER BY slot"
            rows = database.execute(sql, (int(begins / BEAT), int(ends / BEAT)))
            return {slot: bool(ok) for slot, ok in rows}

    def own_days(self) -> set[int]:
        """Give the days of which it is known what this service itself did."""
        with self._open() as database:
            return {day for (day,) in database.execute("SELECT day FROM own")}

    def own(self, first: int, last: int) -> dict[int, dict[str, Any]]:
        """Give what this service itself did, per day."""
        with self._open() as database:
            sql = "SELECT day, body FROM own WHERE day BETWEEN ? AND ? ORDER BY day"
            return {day: json.loads(zlib.decompress(body)) for day, body in database.execute(sql, (first, last))}


def _numbers(database: sqlite3.Connection, names: set[str]) -> dict[str, int]:
    """Give each name its number, a new one where it is new."""
    database.executemany("INSERT OR IGNORE INTO names (name) VALUES (?)", [(name,) for name in sorted(names)])
    listed: Sequence[str] = sorted(names)
    found: dict[str, int] = {}
    for start in range(0, len(listed), 500):
        part = listed[start : start + 500]
        marks = ",".join("?" * len(part))
        found.update(database.execute(f"SELECT name, id FROM names WHERE name IN ({marks})", part))  # noqa: S608 - marks
    return found


def _best(database: sqlite3.Connection, first: int, last: int) -> dict[tuple[int, str], DayCount]:
    """Give the source that counts for each day and member: the last one, as they come in order of launches."""
    rows = (DayCount(*row) for row in database.execute(BEST, (first, last)))
    return {(row.day, row.member): row for row in rows}


def _columns(
    database: sqlite3.Connection, first: int, last: int, members: set[str] | None, column: str
) -> Iterator[tuple[int, bytes]]:
    """Give one column of what counts: of each day, member and file."""
    best = {key: row.source for key, row in _best(database, first, last).items()}
    sql = f"SELECT day, member, source, {column} FROM tallies WHERE day BETWEEN ? AND ? ORDER BY day"  # noqa: S608 - a constant
    for day, member, source, packed in database.execute(sql, (first, last)):
        if best[day, member] == source and (members is None or member in members):
            yield day, packed
