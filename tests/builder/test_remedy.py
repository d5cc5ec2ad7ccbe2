"""The offer of the commit's date."""

from __future__ import annotations

import asyncio
import subprocess
from datetime import date
from pathlib import Path

import pytest

from binderlet.builder.context import Context
from binderlet.builder.plan import Kind, Plan
from binderlet.builder.remedy import MARK, advise, commit_day, found, is_old, look, offer

TODAY = date(2026, 1, 1)


def test_offer() -> None:
    """The line to write, and into which file; with the Python that was found."""
    plan = Plan(Kind.PYTHON, "3.11", requirements_file="binder/requirements.txt")
    assert offer(plan, "2020-02-03", None).endswith("one line into binder/runtime.txt: python-3.11-2020-02-03")
    plain = Plan(Kind.PYTHON, "3.11", requirements_file="requirements.txt")
    text = offer(plain, "2020-02-03", "3.9")
    assert "ready-made for Python 3.9" in text
    assert text.endswith(" into runtime.txt: python-3.9-2020-02-03")
    assert "cannot be installed on any Python here" in offer(plain, "2020-02-03", "")


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
    assert not is_old(plan, day, TODAY)
    assert is_old(Plan(Kind.PYTHON, "3.11", requirements_file="r.txt"), "2025-01-01", TODAY)


@pytest.mark.parametrize(
    ("tail", "python"), [(f"x\n{MARK}3.9\n", "3.9"), (f"{MARK}\n", ""), ("error\n", None), (f"a {MARK}3.9\n", None)]
)
def test_found(tail: str, python: str | None) -> None:
    """What the build printed says a Python, none, or that it failed."""
    assert found(tail) == python


def test_look(tmp_path: Path) -> None:
    """The newest Python is tried first, with the packages of the day and nothing but wheels; no image is made."""
    plan = Plan(Kind.PYTHON, "3.11", requirements_file="my requirements.txt", requirements={"my requirements.txt": "x"})
    context, command = look(Context(tmp_path, ""), "base:1", plan, "2020-02-03", ["3.9", "3.12", "3.10"])
    assert (command.tag, command.output, context.requirements) == ("", tmp_path / "found", plan.requirements)
    text = context.dockerfile
    assert "for python in 3.12 3.10 3.9; do" in text
    assert "--no-build" in text
    assert "--exclude-newer 2020-02-03T23:59:59Z" in text
    assert "'my requirements.txt'" in text


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
    days: list[str] = []

    async def looked(day: str) -> str | None:
        days.append(day)
        return None

    said: list[str] = []
    await advise(old, tmp_path, looked, said.append)
    assert days == ["2020-02-03"]
    assert "python-3.11-2020-02-03" in said[-1]
    await advise(Plan(Kind.PYTHON, "3.11"), tmp_path, looked, said.append)
    assert len(said) == 2
