"""How much swap, and where: a table, and what holds for every machine."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from binderlet.deploy.swap import GIB, LEFT_ON_DISK, Disk, SwapPlan, fastest, plan

SSD = Disk("/", 100 * GIB, rotates=False)
NVME = Disk("/data", 400 * GIB, rotates=False, is_nvme=True)
SLOW = Disk("/slow", 4000 * GIB, rotates=True)


@pytest.mark.parametrize(
    ("memory", "disks", "has_zram", "expected"),
    [
        (24, [SSD], True, SwapPlan(12 * GIB, 48 * GIB, "/binderlet.swap")),
        (24, [SLOW, SSD, NVME], False, SwapPlan(0, 48 * GIB, "/data/binderlet.swap")),
        (64, [SSD], True, SwapPlan(32 * GIB, 60 * GIB, "/binderlet.swap")),
        (4, [Disk("/", 11 * GIB, rotates=False)], True, SwapPlan(2 * GIB, 0, "")),
        (4, [Disk("/", GIB, rotates=False)], False, SwapPlan(0, 0, "")),
        (4, [], True, SwapPlan(2 * GIB, 0, "")),
    ],
)
def test_the_plan(memory: int, disks: list[Disk], has_zram: bool, expected: SwapPlan) -> None:  # noqa: FBT001 - a table
    """Half of memory in zram, twice memory in a file where there is room."""
    assert plan(memory * GIB, disks, has_zram=has_zram) == expected


def test_the_operator_may_choose() -> None:
    """Sizes that are given count, nothing included."""
    assert plan(24 * GIB, [SSD], has_zram=True, zram=0, file=GIB // 2) == SwapPlan(0, GIB // 2, "/binderlet.swap")
    assert plan(24 * GIB, [SSD], has_zram=True, zram=GIB, file=0) == SwapPlan(GIB, 0, "")


def test_the_fastest_disk() -> None:
    """NVMe, then what does not rotate, then the most space."""
    assert fastest([SLOW, SSD, NVME]) == NVME
    assert fastest([SLOW, SSD]) == SSD
    assert fastest([]) is None


@given(st.integers(1, 1024), st.integers(0, 4096))
def test_the_disk_is_never_filled(memory: int, free: int) -> None:
    """What builds need stays free."""
    made = plan(memory * GIB, [Disk("/", free * GIB, rotates=False)], has_zram=True)
    assert made.file == 0 or free * GIB - made.file >= LEFT_ON_DISK
