"""Control groups: what a container uses, read from the kernel's files, and its memory pushed out to swap.

A container's group is the folder that has the container's id in its name, whichever engine and cgroup driver made
it: ``docker/<id>``, ``system.slice/docker-<id>.scope``, ``machine.slice/libpod-<id>.scope``. Everything here blocks.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

ROOT = Path("/sys/fs/cgroup")
ID = re.compile(r"(?<![0-9a-f])[0-9a-f]{64}(?![0-9a-f])")
DEEPEST = 8
"""Folders below the root that are searched: rootless engines nest their groups six deep."""
EVERYTHING = 1 << 50
NO_SUCH_GROUP = {errno.ENOENT, errno.ENODEV}
NOT_ALLOWED = {errno.EACCES, errno.EPERM, errno.EROFS}


@dataclass(frozen=True, slots=True)
class Usage:
    """What one container uses."""

    cpu: float
    """Seconds of CPU time since its start."""
    resident: int
    """Bytes of memory, its share of the page cache included."""
    swap: int
    """Bytes in swap."""


@dataclass(frozen=True, slots=True)
class Group:
    """Where the kernel's files of one container are."""

    memory: Path
    cpu: Path
    unified: bool
    """Whether this is cgroup v2."""


class CgroupsUnusable(Exception):
    """Memory cannot be reclaimed here; the message says why, as the end of a sentence."""


class Cgroups:
    """Finds containers' groups, and remembers them; may be used from several threads."""

    def __init__(self, root: Path = ROOT) -> None:
        self._root = root
        self._groups: dict[str, Group] = {}

    @cached_property
    def unified(self) -> bool:
        """Whether this machine has cgroup v2; read from the disk when first asked."""
        return (self._root / "cgroup.controllers").exists()

    def read(self, containers: Iterable[str]) -> dict[str, Usage]:
        """Give what each container uses; those whose group is gone or cannot be read are left out."""
        wanted = set(containers)
        if wanted - self._groups.keys():
            self._groups = {**self._find(), **{key: group for key, group in self._groups.items() if key in wanted}}
        found = {}
        for container in wanted & self._groups.keys():
            try:
                found[container] = read_usage(self._groups[container])
            except (OSError, ValueError, KeyError):
                self._groups.pop(container, None)
        return found

    def reclaim(self, container: str) -> None:
        """Push all of a container's memory out that the kernel will push; does nothing where it is gone.

        Raises:
            CgroupsUnusable: this process may not do that, or this kernel cannot.
        """
        group = self._groups.get(container) or self._find().get(container)
        if group is None:
            return
        try:
            reclaim_v2(group.memory) if group.unified else reclaim_v1(group.memory)
        except OSError as error:
            if error.errno in NOT_ALLOWED:
                raise CgroupsUnusable("this user may not write to control groups") from error
            if error.errno in NO_SUCH_GROUP:
                if group.memory.exists():
                    raise CgroupsUnusable("this kernel cannot reclaim a control group's memory") from error
                return
            raise

    def why_not(self) -> str:
        """Say why nothing can be reclaimed here, as the end of a sentence; empty where that is not known."""
        memory = self._root if self.unified else self._root / "memory"
        if not memory.is_dir():
            return "there is no memory controller"
        if not os.access(memory, os.W_OK):
            return "this user may not write to control groups"
        return ""

    def _find(self) -> dict[str, Group]:
        """Look at every group of this machine."""
        memory = self._root if self.unified else self._root / "memory"
        found = {}
        for container, path in walk(memory, DEEPEST):
            inside = path.relative_to(memory)
            cpu = path if self.unified else cpu_folder(self._root) / inside
            found[container] = Group(path, cpu, self.unified)
        return found


def walk(folder: Path, depth: int) -> Iterator[tuple[str, Path]]:
    """Yield the containers' folders below a folder, by container id."""
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            if not entry.is_dir(follow_symlinks=False):
                continue
            # Podman's monitor has a group of its own beside the container's.
            if (name := ID.search(entry.name)) is not None and "conmon" not in entry.name:
                yield name[0], Path(entry.path)
            # Also below a container: one with systemd in it holds containers of its own.
            if depth:
                yield from walk(Path(entry.path), depth - 1)


def systemd_root(first: Path = Path("/proc/1/cgroup")) -> str:
    """Give the path below which systemd makes its groups: empty but in a container, whose groups the engine sees whole.

    ``first`` is the kernel's file of the first process.
    """
    try:
        lines = [line.split(":", 2) for line in _text(first).splitlines()]
    except OSError:
        return ""
    paths = [path for _, kind, path in lines if kind in {"name=systemd", ""}]
    return paths[0].removesuffix("/init.scope").rstrip("/") if paths else ""


def cpu_folder(root: Path) -> Path:
    """Give where cgroup v1 counts CPU time."""
    return next((root / name for name in ("cpuacct", "cpu,cpuacct") if (root / name).is_dir()), root / "cpuacct")


def read_usage(group: Group) -> Usage:
    """Read one group; raises ``OSError``, ``ValueError`` or ``KeyError`` where it is gone or not one."""
    if group.unified:
        microseconds = fields(_text(group.cpu / "cpu.stat"))["usage_usec"]
        swap = group.memory / "memory.swap.current"
        return Usage(microseconds / 1e6, _number(group.memory / "memory.current"), _number(swap, absent=0))
    resident = _number(group.memory / "memory.usage_in_bytes")
    together = _number(group.memory / "memory.memsw.usage_in_bytes", absent=resident)
    nanoseconds = _number(group.cpu / "cpuacct.usage")
    return Usage(nanoseconds / 1e9, resident, max(0, together - resident))


def reclaim_v1(folder: Path) -> None:
    """Empty a group; the kernel says EBUSY when something is left, which is ordinary."""
    try:
        _write(folder / "memory.force_empty", "0")
    except OSError as error:
        if error.errno not in {errno.EBUSY, errno.EINTR}:
            raise


def reclaim_v2(folder: Path) -> None:
    """Ask for all that there is; the kernel says EAGAIN when it found less, which is ordinary."""
    amount = _number(folder / "memory.current") or EVERYTHING
    try:
        _write(folder / "memory.reclaim", str(amount))
    except FileNotFoundError:
        squeeze(folder)
    except OSError as error:
        if error.errno not in {errno.EAGAIN, errno.EBUSY, errno.EINTR}:
            raise


def squeeze(folder: Path) -> None:
    """Reclaim on kernels before 5.19, which have no file for it: they also do when the limit is set below the use.

    The limit is the one that slows and never kills, and is put back at once.
    """
    before = _text(folder / "memory.high").strip()
    try:
        with contextlib.suppress(InterruptedError):  # a signal ends the kernel's work early, which is ordinary
            _write(folder / "memory.high", "0")
    finally:
        _write(folder / "memory.high", before)


def fields(text: str) -> Mapping[str, int]:
    """Read a file of lines that have a name and a number."""
    return {name: int(value) for name, _, value in (line.partition(" ") for line in text.splitlines())}


def _text(path: Path) -> str:
    return path.read_text(encoding="ascii")


def _number(path: Path, *, absent: int | None = None) -> int:
    try:
        return int(_text(path))
    except FileNotFoundError:
        if absent is None:
            raise
        return absent


def _write(path: Path, value: str) -> None:
    # Without O_CREAT, as files of the kernel cannot be made; unbuffered, as its answer is wanted here.
    descriptor = os.open(path, os.O_WRONLY)
    try:
        os.write(descriptor, value.encode())
    finally:
        os.close(descriptor)
