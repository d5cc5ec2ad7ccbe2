"""Setting swap up and taking it away, on a written kernel; real programs are started by name only."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest

from binderlet.deploy import swap_setup
from binderlet.deploy.swap import MIB, Disk, SwapPlan
from binderlet.deploy.swap_setup import Kernel, SwapError, SwapSetup, disks, rotates, run
from binderlet.errors import MissingProgram


class FakeKernel:
    """A folder that looks like a kernel, and programs that change it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.kernel = Kernel(root / "proc", root / "sys", root / "dev")
        for folder in ("proc/sys/vm", "sys/class/zram-control", "sys/block/zram3", "dev"):
            (root / folder).mkdir(parents=True)
        (root / "sys/class/zram-control/hot_add").write_text("3\n")
        (root / "proc/sys/vm/swappiness").write_text("60\n")
        (root / "proc/swaps").write_text("Filename Type Size Used Priority\n")
        self.fails = ""
        self.ran: list[str] = []

    def run(self, *command: str) -> None:
        """Do what swapon and swapoff do to /proc/swaps."""
        self.ran.append(" ".join(command).replace(str(self.root), ""))
        if self.fails and self.fails in self.ran[-1]:
            raise SwapError("It failed.")
        swaps = self.root / "proc/swaps"
        if command[0] == "swapon":
            swaps.write_text(f"{swaps.read_text()}{command[-1]} file 1024 0 {command[2]}\n")
        if command[0] == "swapoff":
            swaps.write_text("".join(line for line in swaps.read_text().splitlines(True) if command[1] not in line))

    def setup(self, euid: int = 0) -> SwapSetup:
        """Give the set-up for it."""
        return SwapSetup(self.root / "state" / "swap.json", self.kernel, self.run, euid)

    def plan(self, zram: int = MIB, file: int = MIB) -> SwapPlan:
        """Give a small plan."""
        return SwapPlan(zram, file, str(self.root / "swapfile") if file else "")

    @property
    def swappiness(self) -> str:
        """What it is now."""
        return (self.root / "proc/sys/vm/swappiness").read_text().strip()


@pytest.fixture
def fake(tmp_path: Path) -> FakeKernel:
    """A kernel with zram and no swap."""
    return FakeKernel(tmp_path)


def test_there_and_back(fake: FakeKernel) -> None:
    """All is set up with its priorities, remembered, and taken away to the last file."""
    setup = fake.setup()
    assert (setup.ours(), setup.off(), setup.has_zram()) == (None, False, True)
    setup.setup(fake.plan())
    file = fake.root / "swapfile"
    assert (file.stat().st_size, file.stat().st_mode & 0o777) == (MIB, 0o600)
    assert (fake.root / "sys/block/zram3/disksize").read_text() == str(MIB)
    assert fake.swappiness == "100"
    assert setup.ours() == {"swappiness": 60, "zram": 3, "file": str(file)}
    assert [name for name, _ in setup.areas()] == [str(fake.root / "dev/zram3"), str(file)]
    with pytest.raises(SwapError, match="set up already"):
        setup.setup(fake.plan())
    assert setup.off()
    assert (file.exists(), fake.swappiness, setup.areas(), setup.ours()) == (False, "60", [], None)
    assert (fake.root / "sys/class/zram-control/hot_remove").read_text() == "3"
    assert fake.ran == [
        "mkswap /dev/zram3",
        "swapon --priority 100 /dev/zram3",
        "mkswap /swapfile",
        "swapon --priority 10 /swapfile",
        "swapoff /swapfile",
        "swapoff /dev/zram3",
    ]


@pytest.mark.parametrize(
    "step", ["mkswap /dev/zram3", "swapon --priority 100", "mkswap /swapfile", "swapon --priority 10"]
)
def test_what_fails_is_undone(fake: FakeKernel, step: str) -> None:
    """Whatever step it was."""
    fake.fails = step
    with pytest.raises(SwapError, match="It failed"):
        fake.setup().setup(fake.plan())
    assert (fake.swappiness, fake.setup().areas(), fake.setup().ours()) == ("60", [], None)
    assert not (fake.root / "swapfile").exists()


def test_only_a_part(fake: FakeKernel) -> None:
    """Zram alone, or a file alone, or nothing at all, which is an error."""
    fake.setup().setup(fake.plan(file=0))
    assert fake.setup().off()
    fake.setup().setup(fake.plan(zram=0))
    shutil.rmtree(fake.root / "sys/block/zram3")
    assert fake.setup().off()
    with pytest.raises(SwapError, match="neither"):
        fake.setup().setup(fake.plan(0, 0))


def test_clear_errors(fake: FakeKernel) -> None:
    """Not root; a file that is there; a disk or a kernel that refuses."""
    for action in (lambda: fake.setup(1000).setup(fake.plan()), lambda: fake.setup(1000).off()):
        with pytest.raises(SwapError, match="Only root"):
            action()
    (fake.root / "swapfile").touch()
    with pytest.raises(SwapError, match="exists already"):
        fake.setup().setup(fake.plan())
    with pytest.raises(SwapError, match="cannot be made"):
        fake.setup().setup(SwapPlan(0, MIB, str(fake.root / "nowhere" / "swapfile")))
    (fake.root / "sys/block/zram3").rename(fake.root / "sys/block/zram4")
    with pytest.raises(SwapError, match="disksize cannot be written"):
        fake.setup().setup(fake.plan(file=0))
    (fake.root / "state").rmdir()
    (fake.root / "state").touch()
    with pytest.raises(SwapError, match="state cannot be made"):
        fake.setup().setup(fake.plan())


def test_a_kernel_without_zram(fake: FakeKernel, monkeypatch: pytest.MonkeyPatch) -> None:
    """The module is loaded where it may be; nobody else's machine is touched."""
    shutil.rmtree(fake.root / "sys/class/zram-control")
    assert not fake.setup(1000).has_zram()
    asked = []
    monkeypatch.setattr(shutil, "which", lambda name: name)
    monkeypatch.setattr(subprocess, "run", lambda command, **_: asked.append(command))
    assert not fake.setup().has_zram()
    assert asked == [["modprobe", "zram", "num_devices=0"]]


def test_real_programs() -> None:
    """Their words are in the error."""
    run("true")
    with pytest.raises(SwapError, match=r"'ls /nowhere-at-all' failed: .*No such file"):
        run("ls", "/nowhere-at-all")
    with pytest.raises(MissingProgram):
        run("no-such-program-anywhere")


def test_disks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each once, without those that are read only, that take no swap file, or that are one mounted file."""
    (tmp_path / "hosts").touch()
    parts = [
        SimpleNamespace(device="/dev/vda2", mountpoint=str(tmp_path / "hosts"), fstype="ext4", opts="rw"),
        SimpleNamespace(device="/dev/vda1", mountpoint="/", fstype="ext4", opts="rw"),
        SimpleNamespace(device="/dev/vda1", mountpoint="/again", fstype="ext4", opts="rw"),
        SimpleNamespace(device="/dev/vdb1", mountpoint="/btrfs", fstype="btrfs", opts="rw"),
        SimpleNamespace(device="/dev/vdc1", mountpoint="/ro", fstype="ext4", opts="ro,noatime"),
        SimpleNamespace(device="/dev/nvme0n1p1", mountpoint=str(tmp_path), fstype="xfs", opts="rw"),
    ]
    monkeypatch.setattr(psutil, "disk_partitions", lambda **_: parts)
    monkeypatch.setattr(psutil, "disk_usage", lambda _: SimpleNamespace(free=7))
    monkeypatch.setattr(swap_setup, "rotates", lambda _, name: name == "vda1")
    monkeypatch.setattr(os.path, "realpath", str)
    assert disks() == [Disk("/", 7, rotates=True), Disk(str(tmp_path), 7, rotates=False, is_nvme=True)]


def test_whether_it_rotates(tmp_path: Path) -> None:
    """Told by the disk itself, also of a partition; what is not known does."""
    disk = tmp_path / "devices" / "vda"
    (disk / "queue").mkdir(parents=True)
    (disk / "vda1").mkdir()
    (tmp_path / "class" / "block").mkdir(parents=True)
    for name, target in (("vda", disk), ("vda1", disk / "vda1")):
        (tmp_path / "class" / "block" / name).symlink_to(target)
    for text, expected in (("0\n", False), ("1\n", True)):
        (disk / "queue" / "rotational").write_text(text)
        assert (rotates(tmp_path, "vda"), rotates(tmp_path, "vda1")) == (expected, expected)
    assert rotates(tmp_path, "sdz")


def test_what_is_kept_can_be_read(fake: FakeKernel) -> None:
    """It is JSON, for whoever looks."""
    fake.setup().setup(fake.plan(file=0))
    assert json.loads((fake.root / "state" / "swap.json").read_text()) == {"swappiness": 60, "zram": 3}
