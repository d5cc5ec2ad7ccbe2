"""How many sessions fit: a table, and what holds for every machine."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from binderlet.clients.memory import Hardware, Machine
from binderlet.sessions.capacity import Capacity, Load, capacity, floor, memory_needed, planned, startable

GIB = 1024**3
LIMIT = 2 * GIB


@pytest.mark.parametrize(
    ("hardware", "expected"),
    [
        (Hardware(24 * GIB, 2), Capacity(92, "swap")),  # an eighth of the limit each
        (Hardware(24 * GIB, 2, 12 * GIB), Capacity(167, "swap")),
        (Hardware(24 * GIB, 2, 12 * GIB, 40 * GIB), Capacity(457, "memory")),
        (Hardware(24 * GIB, 2, 0, 48 * GIB), Capacity(458, "swap")),
        (Hardware(64 * GIB, 1, 12 * GIB, 480 * GIB), Capacity(250, "cpu")),
        (Hardware(GIB // 8, 1), Capacity(1, "swap")),
    ],
)
def test_what_fits(hardware: Hardware, expected: Capacity) -> None:
    """Without swap memory counts alone; with it, what is used at a time and what is compressed."""
    assert capacity(hardware, planned(LIMIT)) == expected


def test_a_capacity_says_why() -> None:
    """For people."""
    assert str(Capacity(96, "swap")) == "96 sessions, limited by swap"


@given(st.integers(1, 256).map(lambda size: size * GIB), st.integers(0, 64), st.integers(0, 256), st.integers(64, 8192))
def test_more_swap_never_means_fewer(memory: int, zram: int, disk: int, limit: int) -> None:
    """More disk swap holds at least as many; the sum is of real sizes, never below one session."""
    session = planned(limit * 1024**2)
    less = capacity(Hardware(memory, 64, zram * GIB, disk * GIB + 1), session)
    more = capacity(Hardware(memory, 64, zram * GIB, (disk + 16) * GIB), session)
    assert 1 <= less.sessions <= more.sessions


@pytest.mark.parametrize(
    ("machine", "expected"),
    [
        (Machine(24 * GIB, 20 * GIB, 0, 0), 76),
        (Machine(24 * GIB, GIB, 0, 0), 0),
        (Machine(24 * GIB, 0, 0, 0), 0),
        (Machine(24 * GIB, 20 * GIB, 0, 0, memory_pressure=60), 0),
        (Machine(2 * GIB, GIB, 0, 0), 3),
    ],
)
def test_how_many_may_start(machine: Machine, expected: int) -> None:
    """What is left above the floor at an eighth of the limit each; none while everything waits for memory."""
    assert startable(machine, LIMIT) == expected


def test_the_floor_of_a_small_machine() -> None:
    """An eighth of it."""
    assert (floor(Machine(2 * GIB, 0, 0, 0)), floor(Machine(64 * GIB, 0, 0, 0))) == (GIB // 4, GIB)


@pytest.mark.parametrize(
    ("hardware", "expected"),
    [
        (Hardware(24 * GIB, 2), 100 * 80),
        (Hardware(24 * GIB, 2, zram=30 * 60, disk_swap=0), 70 * 80 + 30 * 10 + 30 * 60 / 3),
        (Hardware(24 * GIB, 2, zram=30 * 60, disk_swap=20 * 60), 50 * 80 + 50 * 10 + 30 * 60 / 3),
        (Hardware(24 * GIB, 2, zram=30 * 60, disk_swap=20_000), 20 * 80 + 80 * 10 + 30 * 60 / 3),
    ],
)
def test_what_a_load_takes(hardware: Hardware, expected: float) -> None:
    """Quiet sessions are in zram, then on disk; where both are full they stay in memory, as those in use do."""
    load = Load(used=80, quiet=10, swapped=60, awake=0.2, shrinks=3)
    assert memory_needed(100, hardware, load) == pytest.approx(expected)
