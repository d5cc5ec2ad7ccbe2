"""How much swap this machine should have, and where. Pure: what there is comes in, a plan goes out.

Rule 1: zram is half of memory: its pages shrink to a third, so a full one takes a sixth of memory.
Rule 2: a swap file is twice memory, but at most two thirds of the disk space beyond 10 GB that is free.
Rule 3: the file is on the disk that is fastest, then on the one with most space; nothing below 1 GB is worth making.
Rule 4: zram is filled before the file, and the kernel prefers pushing out a session's own memory to dropping files.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

GIB = 1024**3
MIB = 1024**2

ZRAM_PRIORITY, FILE_PRIORITY = 100, 10
SWAPPINESS = 100
"""Memory and files are equally good to push out; above the default of 60, as zram costs less than a disk's read."""
LEFT_ON_DISK = 10 * GIB
LEAST = GIB


@dataclass(frozen=True, slots=True)
class Disk:
    """A file system on a disk."""

    folder: str
    free: int
    rotates: bool
    is_nvme: bool = False


@dataclass(frozen=True, slots=True)
class SwapPlan:
    """What to set up; sizes in bytes, 0 for none."""

    zram: int
    file: int
    path: str
    """Of the file; empty where there is none."""
    swappiness: int = SWAPPINESS


def plan(
    memory: int, disks: Sequence[Disk], *, has_zram: bool, zram: int | None = None, file: int | None = None
) -> SwapPlan:
    """Give the plan for a machine; ``zram`` and ``file`` are sizes that the operator wants instead."""
    compressed = (memory // 2 if zram is None else zram) if has_zram else 0
    disk = fastest(disks)
    wanted = 2 * memory if file is None else file
    if disk is None or not wanted:
        return SwapPlan(whole(compressed), 0, "")
    room = max(0, disk.free - LEFT_ON_DISK) * 2 // 3
    size = whole(min(wanted, room) if file is None else file)
    if size < LEAST and file is None:
        size = 0
    return SwapPlan(whole(compressed), size, f"{disk.folder.rstrip('/')}/binderlet.swap" if size else "")


def fastest(disks: Sequence[Disk]) -> Disk | None:
    """Give the disk for the file."""
    return max(disks, key=lambda disk: (disk.is_nvme, not disk.rotates, disk.free), default=None)


def whole(size: int) -> int:
    """Round down to a whole MiB, which every page size divides."""
    return size // MIB * MIB
