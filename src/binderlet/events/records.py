"""Rows of the history as the status page and the command line show them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from sqlite3 import Row
from typing import Any, Self


@dataclass(frozen=True, slots=True)
class LaunchRecord:
    """One launch; ``ended_at`` is None while it goes on, and for good if it was cut off."""

    id: str
    provider: str
    spec: str
    started_at: float
    ended_at: float | None
    status: str
    code: str
    message: str
    repo_url: str
    sha: str
    session_id: str
    built: bool
    build_only: bool
    phase_seconds: Mapping[str, float] = field(default_factory=dict)

    @classmethod
    def from_row(cls, row: Row) -> Self:
        """Read a row of the table ``launches``."""
        values = _known(cls, row)
        values["phase_seconds"] = json.loads(values["phase_seconds"])
        values["built"], values["build_only"] = bool(values["built"]), bool(values["build_only"])
        return cls(**values)


@dataclass(frozen=True, slots=True)
class BuildRecord:
    """One build."""

    id: str
    image: str
    repo_url: str
    sha: str
    started_at: float
    ended_at: float | None
    status: str
    code: str
    message: str

    @classmethod
    def from_row(cls, row: Row) -> Self:
        """Read a row of the table ``builds``."""
        return cls(**_known(cls, row))


@dataclass(frozen=True, slots=True)
class SessionRecord:
    """One session that answered, or was found after a restart."""

    id: str
    launch_id: str
    provider: str
    spec: str
    repo_url: str
    image: str
    started_at: float
    answered_at: float | None
    ended_at: float | None
    reason: str
    exit_code: int | None

    @classmethod
    def from_row(cls, row: Row) -> Self:
        """Read a row of the table ``sessions``."""
        return cls(**_known(cls, row))


def _known(record: type[LaunchRecord | BuildRecord | SessionRecord], row: Row) -> dict[str, Any]:
    """Give the columns that a record has: a newer program may have added others."""
    return {name: row[name] for name in record.__slots__}
