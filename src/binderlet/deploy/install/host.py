"""The machine that is installed on: its files and programs. Everything here blocks."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from binderlet.errors import BinderletError

TIMEOUT = 1800.0
"""Seconds for one program; package downloads are the slow ones."""


class InstallError(BinderletError):
    """A step of the installation failed; those before it stand, and the next run goes on from there."""

    code = "install"
    default_hint = "Mend it and run the same command again: what is done is not done twice."


@dataclass(frozen=True, slots=True)
class Said:
    """How a program ended."""

    code: int
    out: str


class Host:
    """This machine; ``root`` is put before every path of a file, for trying out."""

    def __init__(self, root: Path = Path("/")) -> None:
        self._root = root

    def at(self, path: PurePosixPath | str) -> Path:
        """Give where a file of the machine is."""
        return self._root / str(path).lstrip("/")

    def read(self, path: PurePosixPath | str) -> str | None:
        """Give a file's text; None where there is none."""
        try:
            return self.at(path).read_text(encoding="utf-8")
        except FileNotFoundError:
            return None

    def write(self, path: PurePosixPath | str, text: str, mode: int) -> None:
        """Replace a file at once, so that no reader sees half of it.

        Raises:
            InstallError: the disk is full, or it may not be written.
        """
        place = self.at(path)
        beside = place.with_name(f".{place.name}.new")
        try:
            place.parent.mkdir(parents=True, exist_ok=True)
            beside.write_text(text, encoding="utf-8")
            beside.chmod(mode)
            beside.replace(place)
        except OSError as error:
            beside.unlink(missing_ok=True)
            raise InstallError(f"{path} cannot be written: {error.strerror}.") from error

    def remove(self, path: PurePosixPath | str) -> None:
        """Remove a file, a link or a whole folder; fine where there is none."""
        place = self.at(path)
        if place.is_dir() and not place.is_symlink():
            shutil.rmtree(place)
        else:
            place.unlink(missing_ok=True)

    def remove_empty(self, folders: Sequence[str]) -> None:
        """Remove those of the folders that are empty, in this order."""
        for folder in folders:
            place = self.at(folder)
            if place.is_dir() and not any(place.iterdir()):
                place.rmdir()

    def exists(self, path: PurePosixPath | str) -> bool:
        """Whether something is there, be it a broken link."""
        return os.path.lexists(self.at(path))

    def run(self, command: Sequence[str]) -> Said:
        """Run a program and give what it printed; 127 where there is none of that name."""
        try:
            done = subprocess.run(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors="replace",
                timeout=TIMEOUT,
                check=False,
                env=os.environ | {"DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C.UTF-8"},
            )
        except FileNotFoundError:
            return Said(127, f"{command[0]} is not installed")
        except subprocess.TimeoutExpired:
            return Said(124, f"{command[0]} took longer than {TIMEOUT:g} s")
        return Said(done.returncode, done.stdout)

    def must(self, command: Sequence[str], hint: str = "") -> str:
        """Run a program that has to succeed.

        Raises:
            InstallError: it failed, with its last words.
        """
        said = self.run(command)
        if said.code:
            words = " ".join(said.out.split()[-60:])
            raise InstallError(f"'{' '.join(command)}' failed: {words or said.code}.", hint=hint)
        return said.out
