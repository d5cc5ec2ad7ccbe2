"""Virtual environments that share their packages: an upgrade whose packages are the old ones' downloads nothing.

A release's environment was filled by hash from the lock file beside it. One with the same lock file gets the same files
as hard links: no second copy on the disk, no index asked. Nothing writes into files that are there: pip and Python
replace them. Everything here blocks.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

OWN = ("binderlet", "binderlet-*.dist-info", "_binderlet*", "__editable__*")
"""What is of one release alone, among its packages."""


def share(source: Path, target: Path) -> None:
    """Give an environment without packages those of another, but for binderlet itself.

    Raises:
        OSError: the disk is full, or something cannot be read.
    """
    for packages in source.glob("lib/python*/site-packages"):
        there = target / packages.relative_to(source)
        shutil.copytree(
            packages, there, symlinks=True, ignore=shutil.ignore_patterns(*OWN), copy_function=_link, dirs_exist_ok=True
        )
    (target / "bin").mkdir(exist_ok=True)
    for program in sorted((source / "bin").iterdir()):
        place = target / "bin" / program.name
        if not place.exists() and program.is_file() and not program.is_symlink() and program.name != "binderlet":
            _bring(program, place, source, target)


def _link(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:  # another file system, or one without links
        shutil.copy2(source, target)


def _bring(program: Path, place: Path, source: Path, target: Path) -> None:
    """Copy a program, which then runs in the environment where it is."""
    before = f"#!{source}/bin/".encode()
    text = program.read_bytes()
    if text.startswith(before):
        text = f"#!{target}/bin/".encode() + text.removeprefix(before)
    place.write_bytes(text)
    place.chmod(program.stat().st_mode & 0o777)
