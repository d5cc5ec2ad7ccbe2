"""Sets swap up as planned, and takes it away again; needs root. What was changed is kept in a file for the undoing."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from binderlet.clients.memory import swap_areas
from binderlet.deploy.swap import FILE_PRIORITY, ZRAM_PRIORITY, Disk, SwapPlan
from binderlet.errors import BinderletError, MissingProgram

STATE = Path("/var/lib/binderlet/swap.json")
NOT_DISKS = {"squashfs", "iso9660", "vfat", "msdos", "erofs", "nfs", "nfs4", "cifs"}
NO_SWAP_FILES = {"btrfs", "zfs", "overlay"}
"""File systems on which a swap file needs more than a file."""


class SwapError(BinderletError):
    """Swap could not be set up or taken away; what was begun has been undone."""

    code = "swap"
    default_hint = "'binderlet swap status' shows what there is."


@dataclass(frozen=True, slots=True)
class Kernel:
    """Where the kernel shows itself."""

    proc: Path = Path("/proc")
    sys: Path = Path("/sys")
    dev: Path = Path("/dev")


def run(*command: str) -> None:
    """Run a program; raises ``SwapError`` with its words, or ``MissingProgram``."""
    program = shutil.which(command[0], path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
    if program is None:
        raise MissingProgram(f"{command[0]} is not installed.", hint="apt-get install util-linux kmod")
    done = subprocess.run([program, *command[1:]], capture_output=True, text=True, check=False)
    if done.returncode:
        raise SwapError(f"'{' '.join(command)}' failed: {done.stderr.strip() or done.returncode}.")


class SwapSetup:
    """One machine's swap. ``run`` is what starts programs."""

    def __init__(
        self, state: Path = STATE, kernel: Kernel | None = None, run: Callable[..., None] = run, euid: int | None = None
    ) -> None:
        self._state = state
        self._kernel = kernel or Kernel()
        self._run = run
        self._euid = os.geteuid() if euid is None else euid

    def areas(self) -> list[tuple[str, int]]:
        """Give every swap area in use: name and bytes."""
        return list(swap_areas((self._kernel.proc / "swaps").read_text(encoding="utf-8")))

    def ours(self) -> dict[str, Any] | None:
        """Give what was set up and not taken away yet."""
        if not self._state.exists():
            return None
        found: dict[str, Any] = json.loads(self._state.read_text(encoding="utf-8"))
        return found

    def has_zram(self) -> bool:
        """Whether this kernel has zram, its module loaded where it is one."""
        control = self._kernel.sys / "class" / "zram-control"
        if not control.exists() and self._euid == 0 and shutil.which("modprobe"):
            subprocess.run(["modprobe", "zram", "num_devices=0"], capture_output=True, check=False)
        return control.exists()

    def setup(self, plan: SwapPlan) -> None:
        """Do what the plan says.

        Raises:
            SwapError: this is not root, it is set up already, or a step failed; then all steps are undone.
            MissingProgram: mkswap or swapon is not installed.
        """
        self._need_root()
        if self.ours() is not None:
            raise SwapError("Swap is set up already.", hint="'binderlet swap off' takes it away.")
        if not plan.zram and not plan.file:
            raise SwapError("There is neither zram nor room for a swap file here.", hint="Free some disk.")
        done: dict[str, Any] = {"swappiness": self._swappiness()}
        with ExitStack() as undo:
            undo.callback(self._undo, done)
            self._make_state_folder()
            if plan.zram:
                self._add_zram(plan.zram, done)
            if plan.file:
                self._add_file(Path(plan.path), plan.file, done)
            self._set_swappiness(plan.swappiness)
            self._state.write_text(json.dumps(done), encoding="utf-8")
            undo.pop_all()

    def off(self) -> bool:
        """Take away what was set up; False where nothing was. Its pages must fit into memory.

        Raises:
            SwapError: this is not root, or memory cannot hold what is in swap.
        """
        self._need_root()
        ours = self.ours()
        if ours is None:
            return False
        self._undo(ours)
        self._state.unlink()
        return True

    def _need_root(self) -> None:
        if self._euid != 0:
            raise SwapError("Only root may change this machine's swap.", hint="Run it with sudo.")

    def _make_state_folder(self) -> None:
        try:
            self._state.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise SwapError(f"{self._state.parent} cannot be made: {error.strerror}.") from error

    def _add_zram(self, size: int, done: dict[str, Any]) -> None:
        number = int((self._kernel.sys / "class" / "zram-control" / "hot_add").read_text(encoding="ascii"))
        done["zram"] = number
        device = self._kernel.dev / f"zram{number}"
        _write(self._kernel.sys / "block" / device.name / "disksize", str(size))
        self._run("mkswap", str(device))
        self._run("swapon", "--priority", str(ZRAM_PRIORITY), str(device))

    def _add_file(self, path: Path, size: int, done: dict[str, Any]) -> None:
        if path.exists():
            raise SwapError(f"{path} exists already.", hint="Remove it if nothing uses it.")
        done["file"] = str(path)
        try:
            path.touch(mode=0o600)
            with path.open("r+b") as file:
                os.posix_fallocate(file.fileno(), 0, size)
        except OSError as error:
            raise SwapError(f"{path} cannot be made: {error.strerror}.") from error
        self._run("mkswap", str(path))
        self._run("swapon", "--priority", str(FILE_PRIORITY), str(path))

    def _undo(self, done: dict[str, Any]) -> None:
        active = {name for name, _ in self.areas()}
        if path := done.get("file"):
            if path in active:
                self._run("swapoff", path)
            Path(path).unlink(missing_ok=True)
        if (number := done.get("zram")) is not None:
            device = self._kernel.dev / f"zram{number}"
            if str(device) in active:
                self._run("swapoff", str(device))
            if (self._kernel.sys / "block" / device.name).exists():
                _write(self._kernel.sys / "class" / "zram-control" / "hot_remove", str(number))
        self._set_swappiness(done["swappiness"])

    def _swappiness(self) -> int:
        return int((self._kernel.proc / "sys" / "vm" / "swappiness").read_text(encoding="ascii"))

    def _set_swappiness(self, value: int) -> None:
        _write(self._kernel.proc / "sys" / "vm" / "swappiness", str(value))


def _write(path: Path, value: str) -> None:
    try:
        path.write_text(value, encoding="ascii")
    except OSError as error:
        raise SwapError(f"{path} cannot be written: {error.strerror}.") from error


def disks(sys: Path = Path("/sys")) -> list[Disk]:
    """Give the file systems of this machine on which a swap file may be."""
    return list(_disks(sys))


def _disks(sys: Path) -> Iterator[Disk]:
    seen = set()
    for part in psutil.disk_partitions(all=False):
        if part.device in seen or part.fstype in NOT_DISKS | NO_SWAP_FILES or "ro" in part.opts.split(","):
            continue
        if not Path(part.mountpoint).is_dir():
            continue  # inside a container, single files are mounted from the host's disk
        seen.add(part.device)
        name = Path(os.path.realpath(part.device)).name
        yield Disk(
            part.mountpoint, psutil.disk_usage(part.mountpoint).free, rotates(sys, name), name.startswith("nvme")
        )


def rotates(sys: Path, name: str) -> bool:
    """Whether the disk of a block device, or of a partition on it, rotates; True where that is not known."""
    device = sys / "class" / "block" / name
    for folder in (device, device.resolve().parent):
        try:
            return (folder / "queue" / "rotational").read_text(encoding="ascii").strip() == "1"
        except OSError:
            continue
    return True
