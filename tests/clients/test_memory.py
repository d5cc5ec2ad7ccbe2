"""What the kernel says of memory, read from written files and from this machine."""

from __future__ import annotations

from pathlib import Path

import pytest

from binderlet.clients.memory import Hardware, Machine, pressure, read_hardware, read_machine

MEMINFO = """\
MemTotal:       24684344 kB
MemFree:         1000000 kB
MemAvailable:   20000000 kB
SwapTotal:       8388604 kB
SwapFree:        8000000 kB
HugePages_Total:       0
odd
"""
PRESSURE = "some avg10=1.35 avg60=14.10 avg300=31.77 total=1\nfull avg10=0.44 avg60=0.46 avg300=0.55 total=5\n"
SWAPS = """\
Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority
/dev/zram0                              partition\t8388604\t\t0\t\t100
/swapfile                               file\t\t1024\t\t0\t\t10
"""


@pytest.fixture
def proc(tmp_path: Path) -> Path:
    """A machine with a zram device and a swap file."""
    (tmp_path / "meminfo").write_text(MEMINFO)
    (tmp_path / "swaps").write_text(SWAPS)
    (tmp_path / "pressure").mkdir()
    (tmp_path / "pressure" / "io").write_text(PRESSURE)
    return tmp_path


def test_a_machine(proc: Path) -> None:
    """Sizes in bytes, stalls in per cent; what the kernel does not tell is nothing."""
    machine = Machine(24684344 * 1024, 20000000 * 1024, 8388604 * 1024, 8000000 * 1024, 0.0, 0.44)
    assert read_machine(proc) == machine


def test_its_hardware(proc: Path) -> None:
    """Compressed memory and disk are told apart."""
    found = read_hardware(proc)
    assert found == Hardware(24684344 * 1024, found.cores, 8388604 * 1024, 1024**2)
    assert found.cores >= 1


def test_this_machine() -> None:
    """The real files are read as well."""
    machine, hardware = read_machine(), read_hardware()
    assert 0 < machine.available <= machine.memory == hardware.memory


def test_a_file_that_says_nothing(tmp_path: Path) -> None:
    """An old kernel's pressure is nothing."""
    (tmp_path / "memory").write_text("some avg10=1.35\n")
    assert pressure(tmp_path / "memory") == 0.0
