"""All databases of a state folder, made to fit this program: after an update, and after going back from one."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from binderlet.dashboard import store as statistics
from binderlet.database import Outlook, Schema, connect, copies, migrate, put_back, version_of
from binderlet.errors import StoreUnavailable
from binderlet.events import store as history

DATABASES: Mapping[str, Schema] = {"history.sqlite": history.SCHEMA, "statistics.sqlite": statistics.SCHEMA}
"""Each database of the state folder by its file."""


@dataclass(frozen=True, slots=True)
class Found:
    """One database as it is now."""

    path: Path
    schema: Schema
    version: int

    @property
    def outlook(self) -> Outlook:
        """What is to be done with it."""
        return self.schema.outlook(self.version)

    @property
    def needs_quiet(self) -> bool:
        """Whether nobody may use it meanwhile."""
        return self.outlook in {"breaks", "newer"}

    def __str__(self) -> str:
        """Say what it is, and what is to be done with it."""
        words: Mapping[Outlook, str] = {
            "fits": "fits",
            "grows": f"becomes {self.schema.version}, which older programs can live with",
            "breaks": f"becomes {self.schema.version}; a copy from before it stays beside it",
            "newer": "is of a newer program; the copy from before it is put back",
        }
        return f"{self.path.name}: schema {self.version} {words[self.outlook]}"


def look(state: Path) -> Iterator[Found]:
    """Yield the databases that are there.

    Raises:
        StoreUnavailable: one cannot be read.
    """
    for name, schema in DATABASES.items():
        path = state / name
        if path.exists():
            try:
                with connect(path) as database:
                    version = version_of(database)
            except sqlite3.Error as error:
                raise unusable(schema, path, error) from error
            yield Found(path, schema, version)


def fit(found: Found, *, at: float) -> str:
    """Make one fit this program, and say what was done; ``at`` is now, in seconds since the epoch.

    Raises:
        StoreUnavailable: it cannot be done; the database is as it was, or up to a step that is whole.
    """
    path, schema = found.path, found.schema
    if found.outlook == "newer":
        aside = put_back(schema, path, at=at)
        return f"{path.name}: put back as it was before the update; the newer one is now {aside}"
    try:
        with connect(path) as database:
            steps = migrate(schema, database, path)
    except sqlite3.Error as error:
        raise unusable(schema, path, error) from error
    if not steps:
        return f"{path.name}: schema {found.version} fits"
    kept = "".join(f"; the one from before it is kept as {copy}" for copy in copies(path).values())
    return f"{path.name}: schema {found.version} became {schema.version}{kept}"


def unusable(schema: Schema, path: Path, error: sqlite3.Error) -> StoreUnavailable:
    """Give the error for a database that SQLite cannot read or write."""
    return StoreUnavailable(
        f"The {schema.title} {path} cannot be migrated: {error}.",
        hint=f"Nothing is lost. If the disk is full, make room and try again; else {schema.otherwise}.",
    )
