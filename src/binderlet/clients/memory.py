"""This machine's memory, swap and pressure, as the kernel tells them. Everything here blocks, for microseconds."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

PROC = Path("/proc")
FULL = re.compile(r"^full avg10=([0-9.]+)", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Machine:
    """What this machine has, and how short it is of it."""

    memory: int
    """Bytes in all."""
    available: int
    """Bytes that programs can still have without swapping."""
    swap: int
    swap_free: int
    memory_pressure: float = 0.0
    """Per cent of the last ten seconds in which nothing went on for lack of memory; 0 where it cannot be known."""
    disk_pressure: float = 0.0
    """The same for the disk."""


@dataclass(frozen=True, slots=True)
class Hardware:
    """What this machine has."""

    memory: int
    cores: int
    zram: int = 0
    """Bytes of swap that are compressed memory."""
    disk_swap: int = 0


def read_machine(proc: Path = PROC) -> Machine:
    """Read it all; raises ``OSError``, ``KeyError`` or ``ValueError`` where this is no Linux."""
    found = meminfo((proc / "meminfo").read_text(encoding="ascii"))
    return Machine(
        found["MemTotal"],
        found["MemAvailable"],
        found["SwapTotal"],
        found["SwapFree"],
        pressure(proc / "pressure" / "memory"),
        pressure(proc / "pressure" / "io"),
    )


def meminfo(text: str) -> dict[str, int]:
    """Read ``/proc/meminfo``: name to bytes."""
    lines = (line.split() for line in text.splitlines())
    return {words[0].rstrip(":"): int(words[1]) * 1024 for words in lines if len(words) > 1}


def pressure(path: Path) -> float:
    """Read one file of pressure stall information; 0 where the kernel keeps none."""
    try:
        found = FULL.search(path.read_text(encoding="ascii"))
    except OSError:
        return 0.0
    return float(found[1]) if found else 0.0


def read_hardware(proc: Path = PROC) -> Hardware:
    """Read what there is; raises ``OSError`` or ``KeyError`` where this is no Linux."""
    swaps = list(swap_areas((proc / "swaps").read_text(encoding="utf-8")))
    zram = sum(size for name, size in swaps if name.startswith("/dev/zram"))
    memory = meminfo((proc / "meminfo").read_text(encoding="ascii"))["MemTotal"]
    return Hardware(memory, os.cpu_count() or 1, zram, sum(size for _, size in swaps) - zram)


def swap_areas(text: str) -> Iterator[tuple[str, int]]:
    """Read ``/proc/swaps``: name and bytes of each."""
    for line in text.splitlines()[1:]:
        words = line.split()
        yield words[0], int(words[2]) * 1024
