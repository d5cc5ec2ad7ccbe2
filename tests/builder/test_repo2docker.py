"""Running repo2docker as a job; ``test_fallback_engine.py`` has what it does with a build tool."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from binderlet.builder.fallback import FallbackJob
from binderlet.builder.plan import Kind, Plan
from binderlet.builder.repo2docker import Repo2Docker
from binderlet.builder.running import Jobs
from binderlet.builder.toolchain import Toolchain
from binderlet.config.schema import BuilderSettings
from binderlet.errors import BadRepository, BuildFailed
from binderlet.events.buildlog import BuildLog

PLAN = Plan(Kind.REPO2DOCKER, language="R")


async def build(tmp_path: Path, settings: BuilderSettings, code: int, monkeypatch: pytest.MonkeyPatch) -> str:
    """Run a program that stands for repo2docker; gives how it ended."""
    monkeypatch.setattr(FallbackJob, "command", lambda _self: ["/bin/sh", "-c", f"echo said; exit {code}"])
    jobs = Jobs(tmp_path / "jobs")
    runner = Repo2Docker(settings, {}, Toolchain("docker", "docker", ""), jobs)
    files = FallbackJob(jobs.path("key"), tmp_path, "image:1")
    log = BuildLog(tmp_path / "log")
    outcome = await runner.build(files, PLAN, log, deadline=time.monotonic() + 10)
    return outcome.tail


async def test_good(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its output is the build's log."""
    assert await build(tmp_path, BuilderSettings(), 0, monkeypatch) == "said\n"


async def test_failed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A failure is told in our words."""
    with pytest.raises(BuildFailed, match="exit code 3"):
        await build(tmp_path, BuilderSettings(), 3, monkeypatch)


async def test_switched_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the operator wants none of it nothing is started."""
    with pytest.raises(BadRepository, match="builds no R environments"):
        await build(tmp_path, BuilderSettings(fallback=False), 0, monkeypatch)
