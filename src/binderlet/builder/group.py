"""Limits all build steps together, so that builds never take sessions' or the control plane's share of the machine.

BuildKit in the Docker daemon takes no limits for a build, but runs every step in a control group below one of its own.
That group is limited here: memory and processes absolutely, CPU by weight, so that builds have the whole machine while
nobody else wants it. What the daemon does itself, fetching and writing layers, is not in that group.

Inside it each build's supervisor keeps the build's own steps in their place, see ``steps.py``.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from mmap import PAGESIZE
from pathlib import Path
from typing import TYPE_CHECKING

from binderlet.builder.steps import Limits

if TYPE_CHECKING:  # the root helper does without the settings, which cost 20 MB
    from binderlet.config.schema import BuilderSettings

ROOT = Path("/sys/fs/cgroup")
PARENTS = ("docker", "system.slice:docker:", "system.slice/docker", "system.slice")
"""Below which of these the group is depends on the daemon's cgroup driver."""
NAME = "buildkit"
USUAL_WEIGHT = 100
USUAL_SHARES = 1024
"""The same in cgroup version 1."""
FEWEST_PROCESSES = 64
OOM_SCORE = 500
"""``oom_score_adj`` of build steps: without memory they go after sessions, which have 1000, and before the service."""


@dataclass(frozen=True, slots=True)
class GroupLimits:
    """For all steps of all builds together."""

    memory: int
    """Bytes; 0 for no limit."""
    processes: int
    weight: int
    """Beside 100 for each session, while both want the CPU."""


def limits_of(settings: BuilderSettings) -> GroupLimits:
    """Give the limits that the settings ask for; the kernel counts memory in whole pages."""
    memory = settings.group_memory or os.sysconf("SC_PHYS_PAGES") * PAGESIZE // 2
    return GroupLimits(memory // PAGESIZE * PAGESIZE, settings.group_processes, settings.group_weight)


def step_limits(settings: BuilderSettings, root: Path = ROOT) -> Limits:
    """Give what the steps of one build may do: however few builds run, half of all builds' processes at most."""
    return step_places(root)._replace(
        share=USUAL_WEIGHT if (root / "cgroup.controllers").exists() else USUAL_SHARES,
        processes=max(FEWEST_PROCESSES, settings.group_processes // max(2, settings.concurrent)),
        oom_score=OOM_SCORE,
        disk=settings.disk_limit,
    )


def step_places(root: Path = ROOT) -> Limits:
    """Give where the kernel's files of steps are, without any limit."""
    unified = (root / "cgroup.controllers").exists()
    cpu, pids = [
        [str(folder / parent / NAME) for parent in PARENTS]
        for folder in ((root, root) if unified else (root / "cpu", root / "pids"))
    ]
    return Limits(
        cpu=cpu,
        pids=pids,
        share_file="cpu.weight" if unified else "cpu.shares",
    )


def limit_builds(limits: GroupLimits, root: Path = ROOT) -> list[str]:
    """Write the limits where the kernel reads them; gives the files written, none where there is no such group.

    Idempotent. Nothing is raised: without the rights for it, builds are as before.
    """
    unified = (root / "cgroup.controllers").exists()
    written = []
    for folder, values in _wanted(limits, root, unified=unified):
        group = _group(folder, may_make=not unified)
        for name, value in values.items() if group is not None else ():
            if group is not None and _write(group / name, value):
                written.append(str(group / name))
    return written


def _wanted(limits: GroupLimits, root: Path, *, unified: bool) -> list[tuple[Path, Mapping[str, str]]]:
    """Give what to write below which hierarchy; ``unified`` is cgroup version 2."""
    memory = str(limits.memory) if limits.memory else ("max" if unified else "-1")
    processes = str(limits.processes)
    if unified:
        values = {"memory.max": memory, "pids.max": processes, "cpu.weight": str(limits.weight)}
        return [(root, values)]
    shares = str(max(2, limits.weight * USUAL_SHARES // USUAL_WEIGHT))
    return [
        (root / "memory", {"memory.limit_in_bytes": memory}),
        (root / "pids", {"pids.max": processes}),
        (root / "cpu", {"cpu.shares": shares}),
    ]


def _group(folder: Path, *, may_make: bool) -> Path | None:
    """Find the group; before the daemon's first build it is made, where that is certain to be the right place."""
    for parent in PARENTS:
        group = folder / parent / NAME
        if group.is_dir():
            return group
    first = folder / PARENTS[0]
    if not may_make or not first.is_dir():
        return None
    try:
        (first / NAME).mkdir(exist_ok=True)
    except OSError:
        return None
    return first / NAME


def _write(path: Path, value: str) -> bool:
    try:
        if path.read_text(encoding="ascii").strip() != value:
            path.write_text(value, encoding="ascii")
    except OSError:
        return False
    return True
