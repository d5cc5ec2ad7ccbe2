"""Limits of builds, by this process or by the root helper."""

from __future__ import annotations

from pathlib import Path

import pytest

from binderlet.builder import group, limits
from binderlet.builder.group import GroupLimits
from binderlet.builder.limits import limits_for
from binderlet.config.schema import BuilderSettings
from support.root_helper import root_helper

SETTINGS = BuilderSettings(group_memory=2**30, group_processes=512, group_weight=50)


def test_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    """Root writes them, and the supervisors tend the steps."""
    written: list[GroupLimits] = []
    monkeypatch.setattr(limits, "limit_builds", written.append)
    assert limits_for(SETTINGS, "").helper == ""
    assert written == [GroupLimits(2**30, 512, 50)]


def test_by_the_helper(tmp_path: Path) -> None:
    """The helper writes them; steps are tended by it."""
    folder = tmp_path / "docker" / group.NAME
    folder.mkdir(parents=True)
    (tmp_path / "cgroup.controllers").touch()
    for name in ("memory.max", "pids.max", "cpu.weight"):
        (folder / name).write_text("0\n")
    with root_helper(tmp_path) as socket:
        assert limits_for(SETTINGS, socket).helper == socket
    assert (folder / "memory.max").read_text() == str(2**30)
    assert (folder / "cpu.weight").read_text() == "50"


def test_a_helper_that_is_away() -> None:
    """Builds go on without limits for all together."""
    assert limits_for(SETTINGS, "/nonexistent").processes > 0
