"""How many sessions this machine holds, and how many more may start now. Pure: sizes in bytes in, numbers out.

How many it holds is a sum over what was measured of JupyterLab sessions (``docs/explanation/density.md``): a session
that is used takes an eighth of its limit, a quiet one a few megabytes of memory and half of that in swap, and one in
eight is used at a time. How many may start now looks at the memory that is really left.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass

from binderlet.clients.memory import Hardware, Machine

GIB = 1024**3
MIB = 1024**2

USED_SHARE = 8
"""A session that is used takes this part of its limit on average: a Jupyter server and a kernel have 140 MB."""
QUIET = 12 * MIB
"""What a hibernated session keeps in memory, with what the kernel and the engine keep for it."""
AWAKE = 0.125
"""Share of the sessions that are used at a time."""
SERVICE = GIB
"""What the service and the system need, and what must be left for the memory never to run out."""
ZRAM_RATIO = 3.0
"""How much smaller pages become in zram; measured between 2.6 and 3.2 with lzo-rle."""
QUIET_CPU = 0.002
"""Cores that a hibernated session takes by what its server does by itself."""
CPU_SHARE = 0.5
"""Share of the processors that quiet sessions may take."""
MOST = 10_000
FLOOR = GIB
"""Available memory below which nothing more starts."""
STALLED = 60.0
"""Per cent of time in which everything waits for memory, from which on nothing more starts."""


@dataclass(frozen=True, slots=True)
class Capacity:
    """How many sessions fit, and why not more."""

    sessions: int
    limited_by: str
    """``memory``, ``swap`` or ``cpu``."""

    def __str__(self) -> str:
        return f"{self.sessions} sessions, limited by {self.limited_by}"


@dataclass(frozen=True, slots=True)
class Load:
    """What sessions take, in bytes each, and how many of them are used at a time."""

    used: float
    """In memory, while somebody uses it."""
    quiet: float
    """In memory, once it is hibernated."""
    swapped: float
    """In swap, once it is hibernated."""
    awake: float = AWAKE
    """Share that is not hibernated."""
    shrinks: float = ZRAM_RATIO
    """How much smaller it becomes in zram."""


def planned(session_memory: int) -> Load:
    """Give what sessions that may take ``session_memory`` each are planned with."""
    used = used_size(session_memory)
    return Load(used, min(QUIET, used // 8), max(1, used // 2))


def capacity(hardware: Hardware, load: Load) -> Capacity:
    """Give how many such sessions fit; at least one."""
    usable = hardware.memory - min(SERVICE, hardware.memory // 8)
    needed = [memory_needed(count, hardware, load) for count in range(MOST)]
    fit = bisect_right(needed, usable) - 1
    quiet_by_cpu = int(hardware.cores * CPU_SHARE / QUIET_CPU)
    if fit > quiet_by_cpu:
        return Capacity(max(1, quiet_by_cpu), "cpu")
    is_swap_full = fit * (1 - load.awake) * load.swapped >= hardware.zram + hardware.disk_swap
    return Capacity(max(1, fit), "swap" if is_swap_full else "memory")


def memory_needed(count: int, hardware: Hardware, load: Load) -> float:
    """Give the bytes of memory that so many sessions take; zram is filled first, then disk, then memory again."""
    quiet = count * (1 - load.awake)
    in_zram = min(quiet, hardware.zram / load.swapped)
    on_disk = min(quiet - in_zram, hardware.disk_swap / load.swapped)
    compressed = in_zram * load.swapped / load.shrinks
    return (count - in_zram - on_disk) * load.used + (in_zram + on_disk) * load.quiet + compressed


def used_size(session_memory: int) -> int:
    """Give what a session in use is planned with, in bytes."""
    return max(1, session_memory // USED_SHARE)


def startable(machine: Machine, session_memory: int) -> int:
    """Give how many sessions may start before memory is looked at again."""
    if machine.memory_pressure >= STALLED:
        return 0
    return max(0, (machine.available - floor(machine)) // used_size(session_memory))


def floor(machine: Machine) -> int:
    """Give the available memory that must be left: a gigabyte, or an eighth of a small machine."""
    return min(FLOOR, machine.memory // 8)
