"""Limits for all builds together."""

from __future__ import annotations

from pathlib import Path

import psutil
import pytest

from binderlet.builder.group import GroupLimits, limit_builds, limits_of, step_limits
from binderlet.config.schema import BuilderSettings

LIMITS = GroupLimits(memory=1024**3, processes=512, weight=50)


def files(root: Path, *paths: str) -> None:
    """Make files that look like the kernel's."""
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text("0\n")


def written(root: Path, limits: GroupLimits = LIMITS) -> dict[str, str]:
    """Limit, and give what is in the files that were written."""
    return {str(Path(path).relative_to(root)): Path(path).read_text() for path in limit_builds(limits, root)}


@pytest.mark.parametrize("parent", ["docker", "system.slice:docker:"])
def test_version_2(tmp_path: Path, parent: str) -> None:
    """One folder has all three limits, wherever the daemon's driver put it; again, nothing changes."""
    group = f"{parent}/buildkit"
    files(tmp_path, "cgroup.controllers", *(f"{group}/{name}" for name in ("memory.max", "pids.max", "cpu.weight")))
    expected = {f"{group}/memory.max": "1073741824", f"{group}/pids.max": "512", f"{group}/cpu.weight": "50"}
    assert written(tmp_path) == expected
    assert written(tmp_path) == expected
    assert written(tmp_path, GroupLimits(0, 512, 50))[f"{group}/memory.max"] == "max"


def test_version_1(tmp_path: Path) -> None:
    """Each controller has a hierarchy of its own, and the group is made there where no build has run yet."""
    names = {"memory": "memory.limit_in_bytes", "pids": "pids.max", "cpu": "cpu.shares"}
    for controller in names:
        (tmp_path / controller / "docker").mkdir(parents=True)
    assert written(tmp_path) == {}
    assert (tmp_path / "cpu/docker/buildkit").is_dir()
    files(tmp_path, *(f"{controller}/docker/buildkit/{name}" for controller, name in names.items()))
    assert written(tmp_path) == {
        "memory/docker/buildkit/memory.limit_in_bytes": "1073741824",
        "pids/docker/buildkit/pids.max": "512",
        "cpu/docker/buildkit/cpu.shares": "512",
    }


def test_half_of_the_memory() -> None:
    """Without a setting builds together get half of the machine."""
    half = psutil.virtual_memory().total / 2
    assert limits_of(BuilderSettings()).memory == pytest.approx(half, rel=0.01)
    assert limits_of(BuilderSettings(group_memory=10_000_000)).memory == 9_998_336


def test_nothing_to_limit(tmp_path: Path) -> None:
    """On a machine without such groups, or where they cannot be made, nothing happens."""
    assert written(tmp_path) == {}
    files(tmp_path, "cgroup.controllers", "cpu/docker/buildkit")
    assert written(tmp_path) == {}
    (tmp_path / "cgroup.controllers").unlink()
    assert written(tmp_path) == {}


def test_limits_of_one_build(tmp_path: Path) -> None:
    """However few builds run at once, none may have more than half of all processes; the CPU is shared by weight."""
    files(tmp_path, "cgroup.controllers")
    limits = step_limits(BuilderSettings(concurrent=1, group_processes=1000, disk_limit=7), tmp_path)
    assert (limits.processes, limits.share_file, limits.share, limits.disk) == (500, "cpu.weight", 100, 7)
    assert limits.cpu == limits.pids
    assert limits.cpu[0] == str(tmp_path / "docker/buildkit")
    (tmp_path / "cgroup.controllers").unlink()
    limits = step_limits(BuilderSettings(concurrent=4, group_processes=64), tmp_path)
    assert (limits.processes, limits.share_file, limits.share) == (64, "cpu.shares", 1024)
    assert limits.pids[0] == str(tmp_path / "pids/docker/buildkit")
