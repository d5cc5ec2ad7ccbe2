"""What builds leave on the disk: ``request.json``, ``log`` and, at the end, ``result.json`` in a folder each."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import structlog

from binderlet.errors import BinderletError
from binderlet.events.buildlog import BuildLog, parse_line
from binderlet.events.kinds import LaunchEvent
from binderlet.events.restored import restored
from binderlet.model import Commit, known

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Failure:
    """A build that ended badly."""

    commit: Commit
    image: str
    error: BinderletError
    at: float
    """Seconds since the epoch."""


@dataclass(frozen=True, slots=True)
class Stored:
    """All that an earlier control plane left."""

    logs: frozenset[str]
    """Ids of the builds that have a log."""
    unfinished: tuple[tuple[Commit, str], ...]
    """Commits and images of the builds without a result."""
    failures: tuple[Failure, ...]


def open_log(folder: Path, commit: Commit, image: str, limit: int, *, is_refresh: bool = False) -> BuildLog:
    """Open the log; one that an unfinished build of an earlier process left is gone on with, an ended one replaced."""
    if (folder / "result.json").exists():
        shutil.rmtree(folder)
    folder.mkdir(parents=True, exist_ok=True)
    body = {"commit": asdict(commit), "image": image, "refresh": is_refresh}
    (folder / "request.json").write_text(json.dumps(body), encoding="utf-8")
    return BuildLog(folder / "log", limit=limit)


def write_result(folder: Path, error: BinderletError | None, at: float) -> None:
    """Put the end on record."""
    result: dict[str, object] = {"ok": error is None, "code": error.code if error else "", "at": at}
    if error is not None:
        result |= {"message": error.message, "hint": error.hint}
    (folder / "result.json").write_text(json.dumps(result), encoding="utf-8")


def read_stored(folder: Path, since: float) -> Stored:
    """Read what is there; failures are those since then.

    Images that were being built anew are there all the same: the next use of one begins that again.
    """
    unfinished, failures = [], []
    for request in sorted(folder.glob("*/request.json")):
        try:
            body = json.loads(request.read_text(encoding="utf-8"))
            commit, image = Commit(**known(Commit, body["commit"])), str(body["image"])
            if body.get("refresh"):
                continue
            result = request.with_name("result.json")
            if not result.exists():
                unfinished.append((commit, image))
                continue
            end = json.loads(result.read_text(encoding="utf-8"))
            if not end["ok"] and end["at"] > since and "message" in end:
                error = restored(end["code"], end["message"], end["hint"])
                failures.append(Failure(commit, image, error, end["at"]))
        except (ValueError, KeyError, TypeError) as error:
            log.warning("a stored build cannot be read, so it is left alone", path=str(request), error=str(error))
    logs = frozenset(path.parent.name for path in folder.glob("*/log"))
    return Stored(logs, tuple(unfinished), tuple(failures))


def read_events(path: Path) -> Iterator[LaunchEvent]:
    """Give a stored log's lines as events; none where there is no log."""
    try:
        lines = path.read_bytes().splitlines()
    except FileNotFoundError:
        return
    yield from map(parse_line, lines)
