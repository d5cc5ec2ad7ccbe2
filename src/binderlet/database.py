"""Schemas of our SQLite databases: made, migrated in place, and put back for an older program.

``PRAGMA user_version`` is ``line * 1000 + steps``. A step that older programs can live with, such as a new table or a
new column with a default, adds one. A step that breaks them also begins a new line, and a copy from before it stays
beside the database, named ``NAME.schema-VERSION``. A program uses each database of its own line, also one that has more
steps, and leaves one of a newer line as it is.
"""

from __future__ import annotations

import contextlib
import os
import re
import sqlite3
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from binderlet.errors import StoreUnavailable

LINE = 1000
"""More than a line ever has steps."""
BUSY = 30.0
"""Seconds to wait for another process that writes."""
PAGES = 1000
"""Pages of a database that are copied at once: in between others may write."""
COPY = re.compile(r"\.schema-(\d+)")

Outlook = Literal["fits", "grows", "breaks", "newer"]
"""What a program finds: nothing to do; steps that others bear while they use it; steps that they do not; too new."""


@dataclass(frozen=True, slots=True)
class Migration:
    """One step: statements that are done together or not at all."""

    statements: tuple[str, ...]
    breaks: bool = False
    """Whether programs from before it cannot read, or not write, what it makes."""


@dataclass(frozen=True, slots=True)
class Schema:
    """How a database becomes what the program needs; a migration that was released never changes."""

    title: str
    """As in a sentence: ``history database``."""
    otherwise: str
    """What to do with a file that cannot be used, as the end of a sentence."""
    migrations: tuple[Migration, ...]

    @property
    def version(self) -> int:
        """What ``user_version`` is when all steps are done."""
        return self.after(len(self.migrations))

    def after(self, steps: int) -> int:
        """Give the version after so many steps."""
        return LINE * sum(step.breaks for step in self.migrations[:steps]) + steps

    def is_newer(self, version: int) -> bool:
        """Whether a version is of a line that this program does not know."""
        return version // LINE > self.version // LINE

    def pending(self, version: int) -> tuple[Migration, ...]:
        """Give the steps that a database of that version lacks."""
        return self.migrations[version % LINE :]

    def outlook(self, version: int) -> Outlook:
        """Say what is to be done with a database of that version."""
        if self.is_newer(version):
            return "newer"
        pending = self.pending(version)
        if any(step.breaks for step in pending):
            return "breaks"
        return "grows" if pending else "fits"


def connect(path: Path, *, busy: float = BUSY) -> contextlib.closing[sqlite3.Connection]:
    """Open a database, which is made if it is not there; closing undoes what was not committed."""
    return contextlib.closing(sqlite3.connect(path, timeout=busy))


def version_of(database: sqlite3.Connection) -> int:
    """Give a database's version; 0 for a new one."""
    ((version,),) = database.execute("PRAGMA user_version").fetchall()
    return int(version)


def migrate(schema: Schema, database: sqlite3.Connection, path: Path) -> int:
    """Bring the database in ``path`` up to the program; gives the number of steps done.

    Each step is a transaction of its own: a kill, a full disk or an error leaves the database as it was before it, and
    the next call goes on from there. Others may do the same at the same time. ``database`` is to be closed on an error.

    Raises:
        StoreUnavailable: the database is of a newer program, or the copy that a step needs cannot be made.
        sqlite3.Error: SQLite cannot read or write it.
    """
    version = version_of(database)
    if schema.is_newer(version):
        raise too_new(schema, path, version)
    database.execute("PRAGMA journal_mode=WAL")
    if not schema.pending(version):
        return 0
    done = 0
    while _step(schema, database, path, is_new=version == 0):
        done += 1
    return done


def _step(schema: Schema, database: sqlite3.Connection, path: Path, *, is_new: bool) -> bool:
    database.execute("BEGIN IMMEDIATE")  # from here on nobody else writes: neither steps nor rows after the copy
    version = version_of(database)
    pending = schema.pending(version)
    if pending:
        if pending[0].breaks and not is_new:
            keep_copy(path, version)
        for statement in pending[0].statements:
            database.execute(statement)
        database.execute(f"PRAGMA user_version = {schema.after(version % LINE + 1)}")
    database.execute("COMMIT")
    return bool(pending)


def too_new(schema: Schema, path: Path, version: int) -> StoreUnavailable:
    """Give the error for a database that only a newer program can use."""
    return StoreUnavailable(
        f"The {schema.title} {path} was made by a newer binderlet (schema {version}, this one has {schema.version}).",
        hint="Update binderlet; or stop the service, and 'binderlet migrate' puts the copy from before the update in "
        f"its place, if there is one; or {schema.otherwise}.",
    )


def keep_copy(path: Path, version: int) -> Path:
    """Copy a database of that version as of now; an earlier copy goes. Half a copy never has its name.

    Raises:
        StoreUnavailable: the disk does not take it; an earlier copy is still there.
    """
    target = path.with_name(f"{path.name}.schema-{version}")
    part = path.with_name(f".{target.name}.part")
    try:
        part.unlink(missing_ok=True)
        copy_database(path, part)
        owner = path.stat()
        os.chown(part, owner.st_uid, owner.st_gid)
        part.chmod(owner.st_mode & 0o777)
        with part.open("rb") as file:
            os.fsync(file.fileno())
        part.replace(target)
    except OSError as error:
        raise StoreUnavailable(f"{path} cannot be copied to {target}: {error.strerror or error}.") from error
    finally:
        part.unlink(missing_ok=True)
    for old in copies(path).values():
        if old != target:
            old.unlink()
    return target


def copies(path: Path) -> dict[int, Path]:
    """Give the copies of a database by their versions."""
    found = {}
    for each in path.parent.glob(f"{path.name}.schema-*"):
        if match := COPY.fullmatch(each.name.removeprefix(path.name)):
            found[int(match[1])] = each
    return found


def put_back(schema: Schema, path: Path, *, at: float) -> Path:
    """Put the copy of this program's line in the place of a database of a newer one; gives where that one is now.

    Nobody may use the database. At each moment there is a whole database in ``path``.

    Raises:
        StoreUnavailable: there is no such copy, or somebody uses the database.
    """
    found = [copy for version, copy in sorted(copies(path).items()) if version // LINE == schema.version // LINE]
    try:
        with connect(path, busy=0) as database:
            version = version_of(database)
            if not found:
                raise too_new(schema, path, version)
            database.execute("PRAGMA journal_mode=DELETE")  # all of it is in one file then
        aside = path.with_name(f"{path.name}.newer-{version}-{int(at)}")
        aside.hardlink_to(path)
        found[-1].replace(path)
    except (sqlite3.Error, OSError) as error:
        raise StoreUnavailable(
            f"The {schema.title} {path} cannot be put back: {error}.", hint="'binderlet stop-service' first."
        ) from error
    return aside


def copy_database(source: Path, target: Path) -> None:
    """Copy a database that others may be writing to, as of one moment.

    Raises:
        StoreUnavailable: it cannot be read, or the disk does not take the copy.
    """
    try:
        with (
            contextlib.closing(sqlite3.connect(f"file:{source}?mode=ro", uri=True, timeout=BUSY)) as here,
            contextlib.closing(sqlite3.connect(target)) as there,
        ):
            here.backup(there, pages=PAGES, sleep=0.01)
            there.execute("PRAGMA journal_mode=DELETE")
    except sqlite3.Error as error:
        raise StoreUnavailable(f"The database {source} cannot be copied: {error}.") from error
