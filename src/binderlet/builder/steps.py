"""Keeps one build's running steps in their place: a part of the supervisor's program, so standard library alone.

BuildKit runs each step in a control group of its own, below the one that ``group.py`` limits for all builds together.
Inside that group no build may starve another: each step gets a limit of processes, steps of one build share one
build's part of the CPU, and what a step writes is measured. Should memory run out, steps go before the control plane,
HAProxy and the engine, whose own importance they would otherwise inherit.

The engine does not say whose a step is; the build's mark is a name among the hosts without proxy, which BuildKit puts
into each step's environment and keeps out of its cache keys.
"""

# Importing pathlib would double the time that the supervisor takes to start.
# ruff: noqa: PTH112, PTH118, PTH123

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple

EVERY = 0.05
"""Seconds between looks."""
SETTLED = 2.0
"""Seconds of a step's own program after which all its processes descend from those that were seen."""
STARTING = b"_LIBCONTAINER_"
"""In the environment of a container that is not its own program yet, which takes seconds on a busy machine."""
NOT_YET = float("inf")
MEASURE_EVERY = 1.0
"""Seconds between looks at the disk, at least."""
UPPER = re.compile(r" / / [^\n]* - overlay [^\n]*[ ,]upperdir=(/[^,\n]*)")


class Limits(NamedTuple):
    """What the steps of one build may do; lists, because it comes as JSON."""

    mark: str = "none.binderlet.invalid"
    """Found in the environment of this build's steps, and of no other's."""
    cpu: Sequence[str] = ()
    """Folders of which the first that exists holds the steps' groups for the CPU."""
    pids: Sequence[str] = ()
    """The same for processes."""
    share_file: str = "cpu.shares"
    share: int = 1024
    """What all steps of the build have together."""
    processes: int = 0
    """Of each step; 0 for no limit."""
    oom_score: int = 0
    """``oom_score_adj``; lower ones are raised to it."""
    disk: int = 0
    """Bytes that each step may write; 0 for no limit."""
    helper: str = ""
    """Socket of the root helper, which then does all this; empty where this process may."""

    def in_background(self) -> Limits:
        """Give those of a build for which nobody waits: a tenth of the CPU."""
        return self._replace(share=max(2, self.share // 10))


NO_LIMITS = Limits()


class Steps:
    """The steps of one build."""

    def __init__(self, limits: Limits, *, proc: str = "/proc") -> None:
        self._limits = limits
        self._proc = proc
        self._mark = limits.mark.encode()
        self._since: dict[str, float] = {}
        self._ours: dict[str, int] = {}
        self._free: dict[str, int] = {}  # before the step wrote anything
        self._next_measure = 0.0
        self._shared_by = 0

    def tend(self, now: float) -> str:
        """Look at the steps that run, and limit what is new; gives ``disk`` where one has written too much."""
        cpu, pids = _first(self._limits.cpu), _first(self._limits.pids)
        if not pids:
            return ""
        names = _folders(pids)
        for gone in self._since.keys() - names:
            del self._since[gone]
            self._ours.pop(gone, None)
        for name in names:
            if name not in self._since:
                self._since[name] = NOT_YET
                if self._limits.processes:
                    _write(os.path.join(pids, name, "pids.max"), str(self._limits.processes))
            if now < self._since[name] + SETTLED:
                self._look(name, _numbers(os.path.join(pids, name, "cgroup.procs")), now)
        self._divide(cpu)
        return "disk" if self._limits.disk and self._wrote_too_much(now) else ""

    def _look(self, name: str, processes: Sequence[int], now: float) -> None:
        for process in processes:
            path = f"{self._proc}/{process}/oom_score_adj"
            if _numbers(path)[:1] < [self._limits.oom_score]:
                _write(path, str(self._limits.oom_score))
        environment = _read(f"{self._proc}/{processes[0]}/environ") if processes else b""
        if environment and STARTING not in environment:
            self._since[name] = min(self._since[name], now)
        if self._mark in environment:
            self._ours.setdefault(name, processes[0])

    def _divide(self, cpu: str) -> None:
        """Divide the build's part among its steps, where their number has changed."""
        count = len(self._ours)
        if cpu and count and count != self._shared_by:
            for name in self._ours:
                _write(os.path.join(cpu, name, self._limits.share_file), str(max(2, self._limits.share // count)))
        self._shared_by = count

    def _wrote_too_much(self, now: float) -> bool:
        """Measure what the steps have written, but only where the disk says that it may be much."""
        if now < self._next_measure:
            return False
        self._next_measure = now + MEASURE_EVERY
        for process in self._ours.values():
            found = UPPER.search(_read(f"{self._proc}/{process}/mountinfo").decode("utf-8", "replace"))
            if found is None:
                continue
            free = _free(found[1])
            if found[1] not in self._free:
                self._free[found[1]] = free + written(found[1])
            fallen = self._free[found[1]] - free
            if fallen > self._limits.disk // 2 and written(found[1]) > self._limits.disk:
                return True
        return False


def mark(job: str) -> str:
    """Give a host name, of no host, by which a job's supervisor knows its steps."""
    return f"{job}.binderlet.invalid"


def written(folder: str) -> int:
    """Give the bytes of disk below a folder; a file with several names there counts once."""
    total = 0
    waiting = [folder]
    while waiting:
        try:
            with os.scandir(waiting.pop()) as entries:
                for entry in entries:
                    found, is_folder = entry.stat(follow_symlinks=False), entry.is_dir(follow_symlinks=False)
                    total += found.st_blocks * 512 // (1 if is_folder else found.st_nlink)
                    if is_folder:
                        waiting.append(entry.path)
        except OSError:  # it was removed meanwhile
            continue
    return total


def _free(folder: str) -> int:
    disk = os.statvfs(folder)
    return disk.f_bavail * disk.f_frsize


def _first(folders: Iterable[str]) -> str:
    return next((folder for folder in folders if os.path.isdir(folder)), "")


def _folders(folder: str) -> set[str]:
    try:
        with os.scandir(folder) as entries:
            return {entry.name for entry in entries if entry.is_dir(follow_symlinks=False)}
    except OSError:
        return set()


def _read(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError:  # the process has ended
        return b""


def _numbers(path: str) -> list[int]:
    return [int(word) for word in _read(path).split()]


def _write(path: str, value: str) -> None:
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_TRUNC)
    except OSError:  # gone, or without the rights for it: builds are as the engine makes them
        return
    try:
        os.write(descriptor, value.encode())
    except OSError:
        return
    finally:
        os.close(descriptor)
