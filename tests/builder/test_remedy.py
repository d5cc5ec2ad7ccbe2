"""The offer of the commit's date."""

from __future__ import annotations

import asyncio
import subprocess
from datetime import date
from pathlib import Path

import pytest

from binderlet.builder.plan import Kind, Plan
from binderlet.builder.remedy import advise, commit_day, offer

TODAY = date(2026, 1, 1)


def test_offer() -> None:
    """The line to write, and into which file."""
    plan = Plan(Kind.PYTHON, "3.11", requirements_file="binder/requirements.txt")
    assert offer(plan, "2020-02-03", TODAY).endswith("one line into binder/runtime.txt: python-3.11-2020-02-03")
    plain = Plan(Kind.PYTHON, "3.11", requirements_file="requirements.txt")
    assert " into runtime.txt: " in offer(plain, "2020-02-03", TODAY)


@pytest.mark.parametrize(
    ("plan", "day"),
    [
        (Plan(Kind.PYTHON, "3.11"), "2020-01-01"),
        (Plan(Kind.PYTHON, "3.11", requirements_file="r.txt", exclude_newer="2020-01-01"), "2020-01-01"),
        (Plan(Kind.PYTHON, "3.11", requirements_file="r.txt"), "2025-12-01"),
        (Plan(Kind.PYTHON, "3.11", requirements_file="r.txt"), ""),
    ],
)
def test_no_offer(plan: Plan, day: str) -> None:
    """Nothing is offered where it would not help."""
    assert offer(plan, day, TODAY) == ""


async def test_commit_day(tmp_path: Path) -> None:
    """The day is the commit's; a folder without git has none."""

    def commit() -> None:
        subprocess.run(["git", "init", "-q", tmp_path], check=True)
        who = {"GIT_COMMITTER_DATE": "2020-02-03T12:00:00Z", "PATH": "/usr/bin:/bin"}
        names = ["-c", "user.name=x", "-c", "user.email=x@example.org"]
        command = ["git", "-C", str(tmp_path), *names, "commit", "-q", "--allow-empty", "-m", "x"]
        subprocess.run(command, env=who, check=True)

    assert await commit_day(tmp_path) == ""
    await asyncio.to_thread(commit)
    assert await commit_day(tmp_path) == "2020-02-03"
    old = Plan(Kind.PYTHON, "3.11", requirements_file="requirements.txt")
    assert "python-3.11-2020-02-03" in await advise(old, tmp_path)
