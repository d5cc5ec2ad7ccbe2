"""Offers the commit's own date to repositories whose packages no longer go together."""

from __future__ import annotations

import asyncio
import re
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

from binderlet.builder.plan import Plan

OLD = timedelta(days=365)
"""Age of a commit from which its packages may have changed beyond it."""


def offer(plan: Plan, day: str, today: date) -> str:
    """Give the sentence for the log; empty where the date would not help.

    A repository that has a date already, that nothing is installed for, or whose commit is young gets none.
    """
    if not plan.requirements_file or plan.installer_options or re.fullmatch(r"\d{4}-\d{2}-\d{2}", day) is None:
        return ""
    if today - date.fromisoformat(day) < OLD:
        return ""
    folder = plan.requirements_file.rpartition("/")[0]
    path = f"{folder}/runtime.txt" if folder else "runtime.txt"
    return (
        f"This commit is of {day}. To get the packages of that day instead of today's, write one line into {path}: "
        f"python-{plan.python}-{day}"
    )


async def advise(plan: Plan, checkout: Path) -> str:
    """Give the sentence for the log of a build whose packages could not be installed; empty where there is none."""
    return offer(plan, await commit_day(checkout), datetime.now(UTC).date())


async def commit_day(checkout: Path) -> str:
    """Give the day of the commit that is checked out, as ``yyyy-mm-dd``; empty where git does not say."""
    # The configuration of a checkout is a stranger's: only what reads one object is run, without any hooks.
    process = await asyncio.create_subprocess_exec(
        *("git", "-C", str(checkout), "show", "--no-patch", "--no-show-signature", "--format=%cs", "HEAD"),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    output, _ = await process.communicate()
    return output.decode("ascii", "replace").strip()
