"""A control group that belongs to a test, so that it can run out of memory without the rest of the machine."""

from __future__ import annotations

import contextlib
import secrets
import subprocess
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from support.engines import EngineApi

ROOT = Path("/sys/fs/cgroup")
MIB = 1024**2
HOLD = """
import sys, time
score, held, most = int(sys.argv[1]), [], int(sys.argv[2])
open("/proc/self/oom_score_adj", "w").write(str(score))
while len(held) < most:
    held.append(b"x" * 1024**2)
print(len(held), flush=True)
time.sleep(600)
"""


@dataclass(frozen=True)
class MemoryGroup:
    """A group without swap; its processes may be children of anybody."""

    path: Path
    limit: int
    """MiB."""

    def take_in(self, processes: Iterable[int]) -> None:
        """Move processes here; what they have already is not counted."""
        for process in processes:
            (self.path / "cgroup.procs").write_text(str(process))

    @contextlib.contextmanager
    def program(self, size: int, *, score: int = 0) -> Iterator[subprocess.Popen[str]]:
        """Run a program here that takes so many MiB and says when it has them."""
        command = ["sh", "-c", 'echo $$ >"$0" && exec "$@"', str(self.path / "cgroup.procs")]
        command += [sys.executable, "-c", HOLD, str(score), str(size)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as made:
            try:
                yield made
            finally:
                made.kill()


def container_processes(api: EngineApi, container: str) -> list[int]:
    """Give the processes of a container by the numbers that they have out here."""
    first = psutil.Process(api.call("GET", f"containers/{container}/json")["State"]["Pid"])
    return [first.pid, *(process.pid for process in first.children(recursive=True))]


@contextlib.contextmanager
def memory_group(limit: int) -> Iterator[MemoryGroup]:
    """Make a group that may have so many MiB; skips the test where there is none to be had."""
    unified = (ROOT / "cgroup.controllers").exists()
    folder = ROOT if unified else ROOT / "memory"
    path = folder / f"binderlet-test-{secrets.token_hex(4)}"
    try:
        path.mkdir()
    except OSError:
        pytest.skip("needs the right to make a control group")
    names = ("memory.max", "memory.swap.max") if unified else ("memory.limit_in_bytes", "memory.memsw.limit_in_bytes")
    if not (path / names[0]).exists():
        path.rmdir()
        pytest.skip("needs the memory controller")
    try:
        (path / names[0]).write_text(str(limit * MIB))
        with contextlib.suppress(OSError):  # a kernel that does not count swap
            (path / names[1]).write_text("0" if unified else str(limit * MIB))
        yield MemoryGroup(path, limit)
    finally:
        _remove(path, folder)


def _remove(path: Path, folder: Path) -> None:
    """Give what still runs in a group back to the root, and remove it."""
    for process in (path / "cgroup.procs").read_text().split():
        with contextlib.suppress(OSError):  # it ended
            (folder / "cgroup.procs").write_text(process)
    path.rmdir()
