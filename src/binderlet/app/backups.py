"""The schedule of backups of a running service, and how it stands."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from binderlet.config import Settings
from binderlet.config.units import format_duration
from binderlet.deploy.backup_schedule import Schedule, backup_place
from binderlet.model import Check


def make_schedule(settings: Settings, ca_bundle: Path | None) -> Schedule | None:
    """Give the schedule; None where the settings have none.

    Raises:
        ConfigError: the place cannot be used.
    """
    if not settings.backup.every:
        return None
    return Schedule(settings, backup_place(settings, ca_bundle=ca_bundle))


def backup_check(schedule: Schedule, every: float, clock: Callable[[], float] = time.time) -> Check:
    """Say how backups stand; the service is healthy without."""
    if schedule.problem:
        return Check("Backup", ok=False, message=schedule.problem, ignore_failure=True)
    if not schedule.last_at:
        return Check("Backup", ok=True, message="none was made yet", ignore_failure=True)
    age = clock() - schedule.last_at
    ago = format_duration(round(age / 60) * 60)
    return Check("Backup", ok=age < 2 * every, message=f"the last one was made {ago} ago", ignore_failure=True)
