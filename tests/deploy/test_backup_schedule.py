"""Backups as the settings say."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyrage  # type: ignore[import-untyped]
import pytest

from binderlet.clients.age import Key
from binderlet.config import Settings
from binderlet.deploy.backup import opened_backup
from binderlet.deploy.backup_places import BucketPlace, FolderPlace, Found, Place
from binderlet.deploy.backup_schedule import RETRY, Schedule, backup_place, configured_key, run_backup
from binderlet.errors import BackupUnreadable, ConfigError
from binderlet.tasks import Tasks
from support.eventually import eventually

DAY = 86400.0
PAIR = pyrage.x25519.Identity.generate()


def settings_of(tmp_path: Path, **more: Any) -> Settings:  # noqa: ANN401 - any settings
    """Settings with a folder and a public key."""
    backup: Mapping[str, Any] = {"to": str(tmp_path / "to"), "every": DAY, "keep": 2}
    body = {"paths": {"state": tmp_path / "state"}, "server": {"instance": "me"}}
    return Settings.model_validate(body | {"backup": {**backup, "recipients": [str(PAIR.to_public())], **more}})


def test_places(tmp_path: Path) -> None:
    """A folder, the bucket, what the command line says; nothing, or a bucket without storage, is a mistake."""
    settings = settings_of(tmp_path)
    assert isinstance(backup_place(settings), FolderPlace)
    s3 = {"endpoint": "https://s3.example.org", "bucket": "b", "access_key": "a", "secret_key": "s"}
    with_bucket = Settings.model_validate({"registry": {"s3": s3}})
    assert isinstance(backup_place(with_bucket, "bucket"), BucketPlace)
    with pytest.raises(ConfigError, match="no place"):
        backup_place(with_bucket)
    with pytest.raises(ConfigError, match=r"registry\.s3"):
        backup_place(settings, "bucket")


def test_keys(tmp_path: Path) -> None:
    """What encrypts comes from the settings; without, there is nothing."""
    assert configured_key(settings_of(tmp_path)).recipients == (str(PAIR.to_public()),)
    assert configured_key(settings_of(tmp_path, recipients=[], passphrase="x")).passphrase == "x"
    assert not configured_key(Settings())


async def test_one_backup(tmp_path: Path) -> None:
    """It is made, put into its place, and the oldest goes."""
    settings, place = settings_of(tmp_path), FolderPlace(tmp_path / "to")
    for day in range(3):
        made = await run_backup(settings, place, configured_key(settings), 1.7e9 + day * DAY)
    assert made.size == (await place.all())[-1].size
    assert [name.split("T")[0] for name in made.removed] == ["me-20231114"]
    assert len(await place.all()) == 2

    def open_it() -> str:
        with opened_backup(tmp_path / "to" / made.name, Key(identities=[str(PAIR)]), tmp_path) as (manifest, _):
            return manifest.service

    assert await asyncio.to_thread(open_it) == "me"


async def test_the_schedule_outlives_restarts(tmp_path: Path) -> None:
    """The place says when the last one was made: a restart neither repeats nor forgets one."""
    settings, place = settings_of(tmp_path), FolderPlace(tmp_path / "to")
    first = Schedule(settings, place)
    assert await first.look() == DAY
    assert first.problem == ""
    again = Schedule(settings, place)
    assert 0 < await again.look() <= DAY
    assert len(await place.all()) == 1
    assert again.last_at > 1.7e9
    tomorrow = Schedule(settings, place, clock=lambda: again.last_at + DAY + 1)
    assert await tomorrow.look() == DAY
    assert len(await place.all()) == 2


async def test_what_fails_is_tried_again(tmp_path: Path) -> None:
    """A place that cannot be written is said, and tried again soon; the loop goes on."""
    (tmp_path / "file").touch()
    place: Place = FolderPlace(tmp_path / "file" / "to")
    waits: list[float] = []

    async def sleep(seconds: float) -> None:
        waits.append(seconds)
        await asyncio.sleep(0 if len(waits) < 2 else 3600)

    schedule = Schedule(settings_of(tmp_path), place, sleep=sleep)
    async with Tasks("test") as tasks:
        tasks.start(schedule.run(), name="schedule")
        await eventually(lambda: len(waits) == 2, seconds=15)
    assert waits == [RETRY, RETRY]
    assert "cannot be written" in schedule.problem


async def test_others_make_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The timer's backups are seen, and a place that does not answer is said."""
    settings, place = settings_of(tmp_path), FolderPlace(tmp_path / "to")
    looks = 0

    async def sleep(_: float) -> None:
        nonlocal looks
        looks += 1
        if looks == 1:
            await run_backup(settings, place, configured_key(settings), 1.7e9)
        elif looks == 2:
            monkeypatch.setattr(place, "all", away)
        else:
            raise asyncio.CancelledError

    async def away() -> list[Found]:
        raise BackupUnreadable("The place does not answer.")

    watching = Schedule(settings, place, sleep=sleep)
    with pytest.raises(asyncio.CancelledError):
        await watching.watch()
    assert watching.last_at
    assert watching.problem == "The place does not answer."
