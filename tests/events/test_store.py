"""The history database: what it keeps, and that losing it costs only history."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from binderlet.database import Migration
from binderlet.errors import StoreUnavailable
from binderlet.events import store as store_module
from binderlet.events.kinds import SessionStarted
from binderlet.events.records import BuildRecord, LaunchRecord, SessionRecord
from binderlet.events.store import SCHEMA, History, statement
from binderlet.tasks import Tasks
from support.eventually import eventually
from support.facts import (
    BUILD_ENDED,
    BUILD_STARTED,
    LAUNCH_ENDED,
    LAUNCH_STARTED,
    NOW,
    SESSION_ENDED,
    SESSION_STARTED,
)
from support.values import COMMIT, IMAGE, SESSION, SHA


@pytest.fixture
async def history(tmp_path: Path) -> AsyncIterator[History]:
    """Give an empty history."""
    history = History(tmp_path / "state" / "history.sqlite", clock=lambda: NOW)
    yield history
    await history.close()


def sql(path: Path, script: str) -> None:
    """Run SQL on a database from outside."""
    connection = sqlite3.connect(path)
    try:
        connection.executescript(script)
    finally:
        connection.close()


async def test_a_launch_is_kept_from_its_start_to_its_end(history: History) -> None:
    """A launch is on record while it goes on, and complete when it has ended."""
    history.listen(LAUNCH_STARTED)
    await history.flush()
    (going_on,) = await history.launches()
    assert (going_on.id, going_on.ended_at, going_on.status) == ("launch-1", None, "")
    history.listen(LAUNCH_ENDED)
    await history.flush()
    assert await history.launches() == [
        LaunchRecord(
            id="launch-1",
            provider="gh",
            spec="owner/repo/HEAD",
            started_at=NOW,
            ended_at=NOW + 5,
            status="success",
            code="",
            message="",
            repo_url=COMMIT.repo_url,
            sha=SHA,
            session_id=SESSION.id,
            built=True,
            build_only=False,
            phase_seconds={"resolve": 0.1, "start": 2.0, "route": 0.5},
        )
    ]


async def test_a_launch_that_failed_before_its_commit_was_known_is_kept(history: History) -> None:
    """Without a commit its columns stay empty; the error is there."""
    failed = replace(LAUNCH_ENDED, status="failure", code="ref_not_found", message="No such ref.", commit=None)
    history.listen(failed)
    await history.flush()
    (launch,) = await history.launches()
    assert (launch.repo_url, launch.sha, launch.code, launch.message) == ("", "", "ref_not_found", "No such ref.")


async def test_builds_and_sessions_are_kept(history: History) -> None:
    """Their beginning and end come as two facts and make one row."""
    for fact in (BUILD_STARTED, BUILD_ENDED, SESSION_STARTED, SESSION_ENDED):
        history.listen(fact)
    await history.flush()
    assert await history.builds() == [
        BuildRecord("build-1", IMAGE.name, COMMIT.repo_url, SHA, NOW, NOW + 90, "success", "", "")
    ]
    assert await history.sessions() == [
        SessionRecord(
            id=SESSION.id,
            launch_id="launch-1",
            provider="gh",
            spec="owner/repo/HEAD",
            repo_url=COMMIT.repo_url,
            image=IMAGE.name,
            started_at=1000.0,
            answered_at=1001.2,
            ended_at=1060.0,
            reason="culled: idle",
            exit_code=None,
        )
    ]


async def test_a_sessions_token_is_never_stored(history: History) -> None:
    """The database holds no secret."""
    history.listen(SESSION_STARTED)
    history.listen(LAUNCH_ENDED)
    await history.close()
    files = await asyncio.to_thread(lambda: [path.read_bytes() for path in history.path.parent.iterdir()])
    assert not any(SESSION.token.encode() in content for content in files)


async def test_the_latest_come_first_and_are_limited(history: History) -> None:
    """Lists are newest first, as long as asked for, and may begin at a time."""
    for number in range(5):
        history.listen(replace(LAUNCH_STARTED, launch_id=f"launch-{number}", at=NOW + number))
    await history.flush()
    assert [launch.id for launch in await history.launches(2)] == ["launch-4", "launch-3"]
    assert [launch.id for launch in await history.launches(since=NOW + 3)] == ["launch-4", "launch-3"]


async def test_history_outlives_the_process(history: History) -> None:
    """What was written is there when the file is opened again."""
    history.listen(LAUNCH_ENDED)
    await history.close()
    again = History(history.path)
    assert [launch.id for launch in await again.launches()] == ["launch-1"]
    await again.close()
    await again.close()


async def test_old_rows_are_pruned(history: History) -> None:
    """Pruning removes what started before a time, from every table, and says how many rows."""
    for at, name in ((NOW - 100, "old"), (NOW, "new")):
        history.listen(replace(LAUNCH_STARTED, launch_id=name, at=at))
        history.listen(replace(BUILD_STARTED, build_id=name, at=at))
        history.listen(SessionStarted(replace(SESSION, id=name, created_at=at), at))
    await history.flush()
    assert await history.prune(NOW - 50) == 3
    assert [launch.id for launch in await history.launches()] == ["new"]
    assert [build.id for build in await history.builds()] == ["new"]
    assert [session.id for session in await history.sessions()] == ["new"]


async def test_the_background_task_writes_and_prunes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While the service runs facts are written as they come, and old ones are removed."""
    monkeypatch.setattr(store_module, "DAY", 0.02)
    history = History(tmp_path / "history.sqlite", keep=1000, clock=lambda: NOW)
    history.listen(replace(LAUNCH_STARTED, launch_id="old", at=NOW - 2000))
    await history.flush()
    with capture_logs() as logs:
        async with Tasks("test") as tasks:
            tasks.start(history.run(), name="history")
            history.listen(LAUNCH_ENDED)

            async def only_the_new_one() -> bool:
                return [launch.id for launch in await history.launches()] == ["launch-1"]

            await eventually(only_the_new_one)
    await history.close()
    assert {"event": "old history removed", "rows": 1, "log_level": "info"} in logs


async def test_a_damaged_file_is_moved_aside(history: History) -> None:
    """A file that is no database is kept under another name, and a new history begins."""
    history.listen(LAUNCH_ENDED)
    await history.close()
    await asyncio.to_thread(history.path.write_bytes, b"this is no database " * 100)
    again = History(history.path, clock=lambda: NOW)
    again.listen(LAUNCH_ENDED)
    with capture_logs() as logs:
        await again.flush()
    assert [launch.id for launch in await again.launches()] == ["launch-1"]
    await again.close()
    assert logs[0]["event"] == "the history database is damaged: starting a new one"
    kept = await asyncio.to_thread(Path(logs[0]["kept_as"]).read_bytes)
    assert kept.startswith(b"this is no database")


async def test_damage_inside_the_file_is_noticed_at_open(history: History) -> None:
    """A file whose pages were overwritten by a failing disk is moved aside, too."""
    for number in range(2000):
        history.listen(replace(LAUNCH_STARTED, launch_id=f"launch-{number}", at=NOW + number))
    await history.close()

    def damage() -> None:
        content = bytearray(history.path.read_bytes())
        content[4096 * 2 : -4096] = b"\xa5" * (len(content) - 4096 * 3)
        history.path.write_bytes(content)

    await asyncio.to_thread(damage)
    again = History(history.path, clock=lambda: NOW)
    with capture_logs() as logs:
        assert await again.launches() == []
    await again.close()
    assert logs[0]["event"].startswith("the history database is damaged")


async def test_a_full_disk_keeps_facts_for_later(history: History) -> None:
    """While the database cannot grow facts stay queued; when it can they are written."""
    history.listen(LAUNCH_STARTED)
    await history.flush()
    database = await history._connected()
    await database.execute("PRAGMA max_page_count = 1")
    for number in range(500):
        history.listen(replace(LAUNCH_STARTED, launch_id=f"launch-{number}", at=NOW))
    with pytest.raises(StoreUnavailable, match="full"):
        await history.flush()
    await history.flush()
    assert len(await history.launches(1000)) == 500


async def test_a_place_that_cannot_be_written_drops_facts_in_the_end(tmp_path: Path) -> None:
    """Where no database can be opened the service goes on, and says how many facts it could not keep."""
    await asyncio.to_thread((tmp_path / "history.sqlite").mkdir)
    history = History(tmp_path / "history.sqlite")
    history.listen(LAUNCH_ENDED)
    with pytest.raises(StoreUnavailable, match="cannot be read"):
        await history.launches()
    with capture_logs() as logs:
        await history.close()
    assert history.dropped == 1
    assert [line["event"] for line in logs] == ["cannot record; will try again", "not everything was recorded"]


async def test_a_folder_that_cannot_be_made_is_an_unavailable_store(tmp_path: Path) -> None:
    """A file in the way of the state folder is a clear error."""
    await asyncio.to_thread((tmp_path / "state").write_text, "in the way")
    history = History(tmp_path / "state" / "history.sqlite")
    with pytest.raises(StoreUnavailable, match="folder"):
        await history.builds()


async def test_rows_by_sql(history: History) -> None:
    """Other questions are asked in SQL; one that the database cannot answer is a clear error."""
    history.listen(LAUNCH_ENDED)
    await history.flush()
    assert [row["id"] for row in await history.select("SELECT id FROM launches")] == ["launch-1"]
    with pytest.raises(StoreUnavailable, match="no such table"):
        await history.select("SELECT id FROM nowhere")


async def test_pruning_an_unusable_database_is_logged(tmp_path: Path) -> None:
    """The background task goes on when the daily pruning cannot be done."""
    await asyncio.to_thread((tmp_path / "history.sqlite").mkdir)
    history = History(tmp_path / "history.sqlite")
    with capture_logs() as logs:
        async with Tasks("test") as tasks:
            tasks.start(history.run(), name="history")
            await eventually(lambda: bool(logs))
    assert logs[0]["event"] == "old history stays"


async def test_a_database_of_a_newer_version_is_left_alone(history: History) -> None:
    """An older binderlet neither changes nor moves what a newer one wrote."""
    await history.launches()
    await history.close()
    await asyncio.to_thread(sql, history.path, "PRAGMA user_version = 1002;")
    with pytest.raises(StoreUnavailable, match="newer binderlet") as caught:
        await History(history.path).launches()
    assert "Update binderlet" in caught.value.hint


async def test_a_database_of_an_older_version_is_migrated(history: History, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each missing step is applied once, and the rows stay."""
    history.listen(LAUNCH_ENDED)
    await history.close()
    step = Migration(("ALTER TABLE builds ADD COLUMN note TEXT NOT NULL DEFAULT ''",))
    monkeypatch.setattr(store_module, "SCHEMA", replace(SCHEMA, migrations=(*SCHEMA.migrations, step)))
    for _ in range(2):
        again = History(history.path)
        assert [launch.id for launch in await again.launches()] == ["launch-1"]
        await again.close()
    await asyncio.to_thread(sql, history.path, "SELECT note FROM builds")


async def test_an_error_in_migrating_closes_the_file(history: History, monkeypatch: pytest.MonkeyPatch) -> None:
    """A step that fails leaves the database as it was, and no open file behind."""
    monkeypatch.setattr(store_module, "SCHEMA", replace(SCHEMA, migrations=(Migration(("CREATE TABLE broken (",)),)))
    with pytest.raises(StoreUnavailable, match="cannot be read"):
        await history.launches()
    monkeypatch.undo()
    assert await history.launches() == []


def test_a_fact_without_a_table_is_a_mistake() -> None:
    """A new kind of fact cannot be forgotten here."""
    with pytest.raises(TypeError, match="no table for str"):
        statement("not a fact")  # type: ignore[arg-type]  # on purpose
