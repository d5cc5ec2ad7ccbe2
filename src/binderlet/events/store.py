"""The history database: what launches, builds and sessions there were. History, never liveness.

Facts are queued and written in batches. A disk that is full or read-only costs history, never a launch; a damaged
file is moved aside and a new one started.
"""

from __future__ import annotations

import asyncio
import json
import sqlite3
import time
from collections.abc import Callable, Sequence
from functools import singledispatch
from pathlib import Path
from typing import Any

import aiosqlite
import structlog

from binderlet.database import Migration, Schema, connect, migrate
from binderlet.errors import StoreUnavailable
from binderlet.events.kinds import (
    BuildEnded,
    BuildStarted,
    Fact,
    LaunchEnded,
    LaunchStarted,
    SessionEnded,
    SessionStarted,
)
from binderlet.events.outbox import Outbox
from binderlet.events.records import BuildRecord, LaunchRecord, SessionRecord
from binderlet.model import Session

log = structlog.get_logger(__name__)

SCHEMA = Schema(
    title="history database",
    otherwise="move the file away to start a new history",
    migrations=(
        Migration(
            (
                """
                CREATE TABLE launches (
                    id TEXT PRIMARY KEY, provider TEXT NOT NULL, spec TEXT NOT NULL, started_at REAL NOT NULL,
                    ended_at REAL, status TEXT NOT NULL DEFAULT '', code TEXT NOT NULL DEFAULT '',
                    message TEXT NOT NULL DEFAULT '', repo_url TEXT NOT NULL DEFAULT '', sha TEXT NOT NULL DEFAULT '',
                    session_id TEXT NOT NULL DEFAULT '', built INTEGER NOT NULL DEFAULT 0,
                    build_only INTEGER NOT NULL DEFAULT 0, phase_seconds TEXT NOT NULL DEFAULT '{}'
                ) WITHOUT ROWID
                """,
                "CREATE INDEX launches_started_at ON launches (started_at)",
                """
                CREATE TABLE builds (
                    id TEXT PRIMARY KEY, image TEXT NOT NULL, repo_url TEXT NOT NULL, sha TEXT NOT NULL,
                    started_at REAL NOT NULL, ended_at REAL, status TEXT NOT NULL DEFAULT '',
                    code TEXT NOT NULL DEFAULT '', message TEXT NOT NULL DEFAULT ''
                ) WITHOUT ROWID
                """,
                "CREATE INDEX builds_started_at ON builds (started_at)",
                """
                CREATE TABLE sessions (
                    id TEXT PRIMARY KEY, launch_id TEXT NOT NULL, provider TEXT NOT NULL, spec TEXT NOT NULL,
                    repo_url TEXT NOT NULL, image TEXT NOT NULL, started_at REAL NOT NULL, answered_at REAL,
                    ended_at REAL, reason TEXT NOT NULL DEFAULT '', exit_code INTEGER
                ) WITHOUT ROWID
                """,
                "CREATE INDEX sessions_started_at ON sessions (started_at)",
            )
        ),
    ),
)

TABLES = ("launches", "builds", "sessions")
DAY = 86400.0
DAMAGED = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}

Statement = tuple[str, tuple[Any, ...]]


class _DamagedError(sqlite3.DatabaseError):
    """SQLite's own check of the file found something."""


class History:
    """The database in ``path``; ``listen`` goes on the bus, ``run`` is its background task.

    Rows older than ``keep`` seconds are removed once a day.
    """

    def __init__(self, path: Path, *, keep: float = 90 * DAY, clock: Callable[[], float] = time.time) -> None:
        self.path = path
        self._keep = keep
        self._clock = clock
        self._opening: asyncio.Future[tuple[aiosqlite.Connection]] | None = None
        self._outbox: Outbox[Fact] = Outbox(self._write, name="history")

    @property
    def dropped(self) -> int:
        """Facts that were never recorded because the database did not work for long."""
        return self._outbox.dropped

    def listen(self, fact: Fact) -> None:
        """Queue a fact; returns at once."""
        self._outbox.put(fact)

    async def run(self) -> None:
        """Write facts as they come and prune daily, until cancelled; an unusable database is logged and tried again."""
        await asyncio.gather(self._outbox.run(), self._prune_daily())

    async def flush(self) -> None:
        """Write all queued facts now.

        Raises:
            StoreUnavailable: the database cannot be written; the facts stay queued.
        """
        await self._outbox.flush()

    async def close(self) -> None:
        """Write what is queued and close the database. Idempotent."""
        await self._outbox.close()
        await self._disconnect()

    async def launches(self, limit: int = 50, *, since: float = 0.0) -> Sequence[LaunchRecord]:
        """Give the latest launches that started at ``since`` or later, newest first.

        Raises:
            StoreUnavailable: the database cannot be read.
        """
        return [LaunchRecord.from_row(row) for row in await self._latest("launches", limit, since)]

    async def builds(self, limit: int = 50, *, since: float = 0.0) -> Sequence[BuildRecord]:
        """Give the latest builds, newest first.

        Raises:
            StoreUnavailable: the database cannot be read.
        """
        return [BuildRecord.from_row(row) for row in await self._latest("builds", limit, since)]

    async def sessions(self, limit: int = 50, *, since: float = 0.0) -> Sequence[SessionRecord]:
        """Give the latest sessions, newest first; one without ``ended_at`` may long be gone: the engine knows.

        Raises:
            StoreUnavailable: the database cannot be read.
        """
        return [SessionRecord.from_row(row) for row in await self._latest("sessions", limit, since)]

    async def select(self, sql: str) -> Sequence[sqlite3.Row]:
        """Read rows; ``sql`` is ours, never somebody's input.

        Raises:
            StoreUnavailable: the database cannot be read.
        """
        try:
            return list(await (await self._connected()).execute_fetchall(sql))
        except sqlite3.Error as error:
            await self._disconnect()
            raise StoreUnavailable(f"The history database {self.path} cannot be read: {error}.") from error

    async def prune(self, before: float) -> int:
        """Remove what started before ``before`` and give the number of rows removed.

        Raises:
            StoreUnavailable: the database cannot be written.
        """
        return await self._execute([(f"DELETE FROM {table} WHERE started_at < ?", (before,)) for table in TABLES])  # noqa: S608 - the names are constants

    async def _prune_daily(self) -> None:
        while True:
            try:
                if removed := await self.prune(self._clock() - self._keep):
                    log.info("old history removed", rows=removed)
            except StoreUnavailable as error:
                log.warning("old history stays", error=str(error), hint=error.hint)
            await asyncio.sleep(DAY)

    async def _write(self, facts: list[Fact]) -> None:
        await self._execute([statement(fact) for fact in facts])

    async def _execute(self, statements: list[Statement]) -> int:
        """Run statements in one transaction and give the number of rows changed."""
        try:
            database = await self._connected()
            before = database.total_changes
            for sql, values in statements:
                await database.execute(sql, values)
            await database.commit()
        except sqlite3.Error as error:
            await self._disconnect()  # also rolls back; the next call opens the file anew
            raise StoreUnavailable(f"The history database {self.path} cannot be written: {error}.") from error
        return database.total_changes - before

    async def _latest(self, table: str, limit: int, since: float) -> Sequence[sqlite3.Row]:
        sql = f"SELECT * FROM {table} WHERE started_at >= ? ORDER BY started_at DESC LIMIT ?"  # noqa: S608 - the names are constants
        try:
            database = await self._connected()
            return list(await database.execute_fetchall(sql, (since, limit)))
        except sqlite3.Error as error:
            await self._disconnect()
            raise StoreUnavailable(f"The history database {self.path} cannot be read: {error}.") from error

    async def _connected(self) -> aiosqlite.Connection:
        # One opening for all who come meanwhile; cancelling one of them does not tear it.
        opening = self._opening
        if opening is None:
            opening = self._opening = asyncio.gather(self._open())
        await asyncio.wait([opening])
        try:
            (database,) = opening.result()
        except BaseException:
            self._opening = None
            raise
        return database

    async def _disconnect(self) -> None:
        opening, self._opening = self._opening, None
        if opening is None:
            return
        await asyncio.wait([opening])
        if opening.exception() is None:
            (database,) = opening.result()
            await database.close()

    async def _open(self) -> aiosqlite.Connection:
        try:
            await asyncio.to_thread(self.path.parent.mkdir, parents=True, exist_ok=True)
        except OSError as error:
            raise StoreUnavailable(f"The folder of {self.path} cannot be made: {error}.") from error
        try:
            return await self._connect()
        except sqlite3.DatabaseError as error:
            if not is_damaged(error):
                raise
            aside = self.path.with_name(f"{self.path.name}.damaged-{int(self._clock())}")
            log.warning("the history database is damaged: starting a new one", kept_as=str(aside), error=str(error))
        await asyncio.to_thread(move_aside, self.path, aside)
        return await self._connect()

    async def _connect(self) -> aiosqlite.Connection:
        await asyncio.to_thread(_prepare, self.path)
        database = await aiosqlite.connect(self.path, timeout=5.0)
        try:
            database.row_factory = sqlite3.Row
            await database.execute("PRAGMA synchronous=NORMAL")
            await _check(database)
        except BaseException:
            await database.close()
            raise
        return database


def _prepare(path: Path) -> None:
    with connect(path, busy=5.0) as database:
        migrate(SCHEMA, database, path)


async def _check(database: aiosqlite.Connection) -> None:
    ((verdict,),) = await database.execute_fetchall("PRAGMA quick_check(1)")
    if verdict != "ok":
        raise _DamagedError(verdict)


def is_damaged(error: sqlite3.Error) -> bool:
    """Whether the file itself is broken, so that trying again is no use."""
    return isinstance(error, _DamagedError) or getattr(error, "sqlite_errorcode", 0) & 0xFF in DAMAGED


def move_aside(path: Path, aside: Path) -> None:
    """Rename a database and what belongs to it."""
    for suffix in ("", "-wal", "-shm"):
        part = path.with_name(path.name + suffix)
        if part.exists():
            part.rename(aside.with_name(aside.name + suffix))


def upsert(table: str, row: dict[str, Any]) -> Statement:
    """Make the statement that adds a row, or fills in what is known by now of one that is there."""
    columns, marks = ", ".join(row), ", ".join("?" * len(row))
    updates = ", ".join(f"{column} = excluded.{column}" for column in row if column != "id")
    sql = f"INSERT INTO {table} ({columns}) VALUES ({marks}) ON CONFLICT (id) DO UPDATE SET {updates}"  # noqa: S608 - the names are constants
    return sql, tuple(row.values())


@singledispatch
def statement(fact: Fact) -> Statement:
    """Make the statement that records a fact; recording it twice is the same as once."""
    raise TypeError(f"no table for {type(fact).__name__}")


@statement.register
def _(fact: LaunchStarted) -> Statement:
    return upsert(
        "launches",
        {"id": fact.launch_id, "provider": fact.spec.provider, "spec": fact.spec.spec, "started_at": fact.at},
    )


@statement.register
def _(fact: LaunchEnded) -> Statement:
    return upsert(
        "launches",
        {
            "id": fact.launch_id,
            "provider": fact.spec.provider,
            "spec": fact.spec.spec,
            "started_at": fact.started_at,
            "ended_at": fact.at,
            "status": fact.status,
            "code": fact.code,
            "message": fact.message,
            "repo_url": fact.commit.repo_url if fact.commit else "",
            "sha": fact.commit.sha if fact.commit else "",
            "session_id": fact.session_id,
            "built": fact.built,
            "build_only": fact.build_only,
            "phase_seconds": json.dumps({step: round(seconds, 6) for step, seconds in fact.phase_seconds.items()}),
        },
    )


@statement.register
def _(fact: BuildStarted) -> Statement:
    return upsert("builds", _build(fact) | {"started_at": fact.at})


@statement.register
def _(fact: BuildEnded) -> Statement:
    ended = {"started_at": fact.started_at, "ended_at": fact.at}
    return upsert("builds", _build(fact) | ended | {"status": fact.status, "code": fact.code, "message": fact.message})


@statement.register
def _(fact: SessionStarted) -> Statement:
    return upsert("sessions", _session(fact.session) | {"answered_at": fact.at})


@statement.register
def _(fact: SessionEnded) -> Statement:
    ended = {"ended_at": fact.at, "reason": fact.reason, "exit_code": fact.session.exit_code}
    return upsert("sessions", _session(fact.session) | ended)


def _build(fact: BuildStarted | BuildEnded) -> dict[str, Any]:
    commit = fact.commit
    return {"id": fact.build_id, "image": fact.image, "repo_url": commit.repo_url, "sha": commit.sha}


def _session(session: Session) -> dict[str, Any]:
    """Give the columns of a session; its token is a secret and stays out."""
    return {
        "id": session.id,
        "launch_id": session.launch_id,
        "provider": session.provider,
        "spec": session.spec,
        "repo_url": session.repo_url,
        "image": session.image,
        "started_at": session.created_at,
    }
