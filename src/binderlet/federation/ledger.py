"""Launches that were given to each member this calendar month, for budgets; kept over restarts."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import structlog

from binderlet.federation.weights import month_of

log = structlog.get_logger(__name__)


class Ledger:
    """Counts in memory; ``save`` writes them to a file, off the event loop please.

    With several redirectors each counts its own part, and takes that the others gave as many.
    """

    def __init__(self, path: Path | None = None, *, replicas: int = 1) -> None:
        self._path = path
        self._replicas = replicas
        self._month = ""
        self._counts: dict[str, int] = {}

    def load(self) -> None:
        """Read what an earlier run counted; a file that cannot be read is as none."""
        if self._path is None or not self._path.exists():
            return
        try:
            body = json.loads(self._path.read_text(encoding="utf-8"))
            self._month = str(body["month"])
            self._counts = {str(name): int(count) for name, count in body["launches"].items()}
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            log.warning("the budgets' counts cannot be read; they begin anew", path=str(self._path), error=str(error))

    def add(self, name: str, now: float) -> None:
        """Count one launch."""
        self._turn(now)
        self._counts[name] = self._counts.get(name, 0) + 1

    def used(self, now: float) -> Mapping[str, int]:
        """Give the launches of this month by member, those of the other redirectors estimated."""
        self._turn(now)
        return {name: count * self._replicas for name, count in self._counts.items()}

    def body(self) -> str:
        """Give what is to be written."""
        return json.dumps({"month": self._month, "launches": self._counts}) + "\n"

    def save(self, body: str) -> None:
        """Write ``body()``, whole or not at all; what cannot be written is said in the log."""
        if self._path is None:
            return
        part = self._path.with_suffix(".part")
        try:
            part.write_text(body, encoding="utf-8")
            part.replace(self._path)
        except OSError as error:
            log.warning("the budgets' counts cannot be written", path=str(self._path), error=str(error))

    def set_replicas(self, replicas: int) -> None:
        """Take the number of redirectors from a new file."""
        self._replicas = replicas

    def _turn(self, now: float) -> None:
        if (month := month_of(now)) != self._month:
            self._month, self._counts = month, {}
