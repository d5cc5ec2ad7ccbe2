"""What a release leaves in its state folder, kept under ``tests/releases`` for the programs that come after it.

``scripts/dump-release`` writes the folder of the release that is about to be made: databases as SQL, other files as
they are, and ``expected.json`` with what the release itself read from them. A folder of a release never changes.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import shutil
import sqlite3
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from binderlet import __version__
from binderlet.config.schema import StandbySettings
from binderlet.dashboard.store import StatisticsStore
from binderlet.dashboard.tallies import Tally
from binderlet.deploy.databases import DATABASES
from binderlet.errors import BuildFailed
from binderlet.events.store import History
from binderlet.images.pins import Pins
from binderlet.images.transfer_record import Entry, Record
from binderlet.launch.stored_builds import open_log, read_stored, write_result
from binderlet.model import RepoSpec, Traffic
from binderlet.sessions.activity import Activity
from binderlet.sessions.adoptions import Adoption, AdoptionFiles
from binderlet.sessions.demand import Demands
from binderlet.sessions.order import SessionOrder
from support.facts import (
    BUILD_ENDED,
    BUILD_STARTED,
    LAUNCH_ENDED,
    LAUNCH_STARTED,
    NOW,
    SESSION_ENDED,
    SESSION_STARTED,
)
from support.values import COMMIT, IMAGE, SPEC

RELEASES = Path(__file__).parents[1] / "releases"
EXPECTED = "expected.json"
PINS, DEMANDS, RECORD, ACTIVITY = "pins.json", "standby/demand.json", "registry/record.json", "activity.json"
ADOPTED, BUILDS = "standby/adopted", "builds"
DAY = 20_833


async def fill(state: Path) -> None:
    """Put some of everything into a state folder, as the service does."""
    history = History(state / "history.sqlite")
    going_on = replace(LAUNCH_STARTED, launch_id="launch-2", spec=RepoSpec("zenodo", "10.5281/zenodo.1"))
    failed = replace(
        LAUNCH_ENDED, launch_id="launch-3", status="failure", code="ref_not_found", message="Kein «ref» ü.", commit=None
    )
    session = replace(SESSION_STARTED.session, id="still-runs", exit_code=None)
    facts = (LAUNCH_STARTED, LAUNCH_ENDED, going_on, failed, BUILD_STARTED, BUILD_ENDED, SESSION_STARTED, SESSION_ENDED)
    for fact in (*facts, replace(SESSION_STARTED, session=session)):
        history.listen(fact)
    await history.close()
    await asyncio.to_thread(_fill_files, state)
    record = Record(state / RECORD)
    record.put(Entry(IMAGE.name, IMAGE.id, "sha256:2", 1000, NOW, 90.0, 3.0, NOW, "binderlet/e-1"))
    await record.save()


def _fill_files(state: Path) -> None:
    statistics = StatisticsStore(state / "statistics.sqlite")
    tally = Tally(5, 2)
    tally.minutes[65] = 5
    tally.repositories["GitHub/owner/repo"] = 5
    statistics.take("archive", "events-a.jsonl", "1", {(DAY, "one"): tally, (DAY + 1, "two"): tally}, skipped=3)
    statistics.put_own({DAY: {"outcomes": {"success": 1}, "sessions": [1, 2]}})
    statistics.beat(DAY * 86400.0, ok=True)
    Pins(state / PINS).pin("https://github.com/owner/repo")
    demands = Demands(StandbySettings(), lambda order: order.image)
    demands.note(SessionOrder("launch-1", SPEC, COMMIT, IMAGE.name, "http://binder.test/", image_id=IMAGE.id), NOW)
    demands.reserve(SPEC, "http://binder.test/", 30, NOW + 3600, NOW + 7200)
    (state / DEMANDS).parent.mkdir()
    (state / DEMANDS).write_text(json.dumps(demands.as_json()), encoding="utf-8")
    AdoptionFiles(state / ADOPTED).save("owner-repo-abcdefgh1234", Adoption("launch-1", NOW))
    activity = Activity.empty(NOW)
    activity.observe({"one": Traffic(1, 2, 3, 4)}, ["one"], NOW + 1)
    activity.extended["one"] = NOW + 600
    (state / ACTIVITY).write_text(json.dumps(activity.as_json()), encoding="utf-8")
    for name, error in (("failed", BuildFailed("It failed.", hint="Mend it.")), ("unfinished", None)):
        open_log(state / BUILDS / name, COMMIT, IMAGE.name, 1000).write("a line")
        if error:
            write_result(state / BUILDS / name, error, NOW)


async def told(state: Path) -> dict[str, Any]:
    """Give what this program reads in a state folder, through what the service itself uses."""
    history = History(state / "history.sqlite")
    found: dict[str, Any] = {
        "launches": sorted((asdict(each) for each in await history.launches()), key=lambda each: str(each["id"])),
        "builds": [asdict(each) for each in await history.builds()],
        "sessions": sorted((asdict(each) for each in await history.sessions()), key=lambda each: str(each["id"])),
    }
    await history.close()
    record = Record(state / RECORD)
    await record.load()
    found["stored"] = [asdict(each) for each in record.entries()]
    found |= await asyncio.to_thread(_told_by_files, state)
    whole: dict[str, Any] = json.loads(json.dumps(found))
    return whole


def _told_by_files(state: Path) -> dict[str, Any]:
    statistics = StatisticsStore(state / "statistics.sqlite")
    pins = Pins(state / PINS)
    pins.load()
    demands = Demands(StandbySettings(), lambda order: order.image)
    demands.load(json.loads((state / DEMANDS).read_text(encoding="utf-8")))
    current, orders = demands.current(NOW)
    stored = read_stored(state / BUILDS, NOW - 1)
    return {
        "days": [asdict(each) for each in statistics.days(DAY, DAY + 1)],
        "hours": statistics.hours(DAY, DAY + 1),
        "repositories": statistics.repositories(DAY, DAY + 1),
        "sources": statistics.sources(),
        "own": statistics.own(DAY, DAY + 1),
        "beats": statistics.beats(DAY * 86400.0, (DAY + 1) * 86400.0),
        "pins": pins.all,
        "adopted": {key: asdict(adoption) for key, adoption in AdoptionFiles(state / ADOPTED).load().items()},
        "activity": Activity.from_json(json.loads((state / ACTIVITY).read_text(encoding="utf-8"))).as_json(),
        "unfinished builds": [[asdict(commit), image] for commit, image in stored.unfinished],
        "failed builds": [[each.image, each.error.code, each.error.message] for each in stored.failures],
        "reservations": [asdict(each) for each in demands.reservations],
        "demands": sorted(each.key for each in current),
        "orders": {key: asdict(order) for key, order in orders.items()},
    }


def write(folder: Path) -> None:
    """Write the folder of the release that this program is."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    with tempfile.TemporaryDirectory() as name:
        state = Path(name)
        asyncio.run(fill(state))
        for file in DATABASES:
            (folder / file).with_suffix(".sql").write_text(dump(state / file), encoding="utf-8")
        shutil.copytree(state, folder, ignore=shutil.ignore_patterns("*.sqlite*"), dirs_exist_ok=True)
        expected = json.dumps(asyncio.run(told(state)), indent=1, sort_keys=True, ensure_ascii=False)
        (folder / EXPECTED).write_text(expected + "\n", encoding="utf-8")


def dump(path: Path) -> str:
    """Give a database as SQL."""
    with contextlib.closing(sqlite3.connect(path)) as database:
        ((version,),) = database.execute("PRAGMA user_version").fetchall()
        return "\n".join([f"PRAGMA user_version = {version};", *database.iterdump()]) + "\n"


def load(release: Path, state: Path) -> None:
    """Make a state folder as a release left it."""
    shutil.copytree(release, state, ignore=shutil.ignore_patterns("*.sql", EXPECTED), dirs_exist_ok=True)
    for file in release.glob("*.sql"):
        with contextlib.closing(sqlite3.connect((state / file.name).with_suffix(".sqlite"))) as database:
            database.executescript(file.read_text(encoding="utf-8"))


def schema_of(path: Path) -> list[str]:
    """Give what defines a database, spaces aside, and its version."""
    with contextlib.closing(sqlite3.connect(path)) as database:
        ((version,),) = database.execute("PRAGMA user_version").fetchall()
        rows = database.execute("SELECT sql FROM sqlite_master WHERE sql IS NOT NULL AND name NOT LIKE 'sqlite_stat%'")
        return [str(version), *sorted(" ".join(sql.split()) for (sql,) in rows)]


def missing(expected: object, found: object, place: str = "") -> Iterator[str]:
    """Yield where something that was expected is not there, or is another; what is there besides is fine."""
    if isinstance(expected, dict) and isinstance(found, dict):
        for key, value in expected.items():
            yield from missing(value, found.get(key), f"{place}/{key}")
    elif isinstance(expected, list) and isinstance(found, list) and len(expected) == len(found):
        for number, (one, other) in enumerate(zip(expected, found, strict=True)):
            yield from missing(one, other, f"{place}/{number}")
    elif expected != found:
        yield f"{place}: {expected!r} became {found!r}"


if __name__ == "__main__":
    write(RELEASES / __version__)
    sys.stdout.write(f"wrote {RELEASES / __version__}\n")
