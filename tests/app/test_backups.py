"""The schedule of a running service."""

from __future__ import annotations

import asyncio
from pathlib import Path

import aiohttp
import pyrage  # type: ignore[import-untyped]
import pytest

from binderlet.app.backups import backup_check, make_schedule
from binderlet.config import Settings
from binderlet.deploy.backup_places import FolderPlace
from binderlet.deploy.backup_schedule import Schedule
from support.app import served, settings
from support.eventually import eventually

DAY = 86400.0


def test_without_a_setting_there_is_none() -> None:
    """Nothing is backed up by itself unless it is asked for."""
    assert make_schedule(Settings(), None) is None


def test_how_backups_stand(tmp_path: Path) -> None:
    """What failed is said, and when the last one was made; one that is too old is not well."""
    schedule = Schedule(Settings(), FolderPlace(tmp_path))
    assert backup_check(schedule, DAY).message == "none was made yet"
    schedule.last_at = 1000.0
    check = backup_check(schedule, DAY, lambda: 1000.0 + 3600)
    assert (check.ok, check.message) == (True, "the last one was made 1h ago")
    assert not backup_check(schedule, DAY, lambda: 1000.0 + 3 * DAY).ok
    schedule.problem = "The folder is gone."
    check = backup_check(schedule, DAY)
    assert (check.ok, check.message, check.ignore_failure) == (False, "The folder is gone.", True)


@pytest.mark.haproxy
async def test_in_a_running_service(tmp_path: Path) -> None:
    """A service with a schedule makes its first backup by itself, and its health says so."""
    recipient = str(pyrage.x25519.Identity.generate().to_public())
    to = tmp_path / "backups"
    wanted = settings(tmp_path / "s", backup={"to": str(to), "every": "1d", "recipients": [recipient]})
    async with served(wanted) as handle, aiohttp.ClientSession() as session:

        async def made() -> bool:
            return bool(await FolderPlace(to).all())

        await eventually(made, seconds=15)

        async def is_shown() -> bool:
            async with session.get(f"{handle.url}health") as answer:
                return any(check["service"] == "Backup" for check in (await answer.json())["checks"])

        await eventually(is_shown, seconds=15)
    (found,) = await asyncio.to_thread(lambda: list(to.iterdir()))
    assert found.name.startswith(wanted.server.instance)
