"""Puts compiled bytecode beside the sources of unpacked wheels in uv's cache, so that installing copies it along.

Started in a build step without network, as a program of its own: ``python -I -S compile_wheels.py CACHE SITE SECONDS``.
``compile`` reads foreign sources but runs none of them. It prints how many files it compiled.

The bytecode is of the kind that is checked by a hash of its source. uv copies give each source a new time, which would
make bytecode with a time stamp worthless; bytecode that nobody checks would hide a change that somebody makes in a
session. Importing pandas and matplotlib takes as long with either of the three kinds.
"""

from __future__ import annotations

import os
import py_compile
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

MARKERS = "binderlet-compiled"
"""Folder in the cache with one empty file per wheel that was looked at."""
NEVER_IMPORTED = {"__pycache__", "test", "tests"}
"""Folders that are left alone: half of pandas' modules are tests, and all would be copied into each image."""
LARGEST = 2 * 1024**2
"""Bytes of a source file; larger ones are tables, and compiling them takes much memory."""


def compile_cache(cache: Path, site: str, deadline: float) -> int:
    """Compile what has not been looked at yet, until ``deadline`` (of ``time.monotonic``); gives how many files."""
    markers = cache / MARKERS
    markers.mkdir(exist_ok=True)
    compiled = 0
    with tempfile.TemporaryDirectory(prefix="new-", dir=markers) as staging:
        for archive in new_archives(cache, markers):
            if time.monotonic() > deadline:
                break
            # Before the work: a source that ends this process is not tried for ever.
            (markers / archive.name).touch()
            compiled += compile_archive(archive, site, Path(staging))
    return compiled


def new_archives(cache: Path, markers: Path) -> Iterator[Path]:
    """Give the unpacked wheels without a marker, the newest first: somebody waits for those."""
    found = [path for path in cache.glob("archive-v*/*") if not path.name.startswith(".") and path.is_dir()]
    known = {path.name for path in markers.iterdir()}
    fresh = [path for path in found if path.name not in known]
    yield from sorted(fresh, key=lambda path: path.stat().st_mtime, reverse=True)


def compile_archive(archive: Path, site: str, staging: Path) -> int:
    """Compile one unpacked wheel; gives how many files."""
    compiled = 0
    for folder, folders, names in os.walk(archive):
        folders[:] = [name for name in folders if name not in NEVER_IMPORTED]
        sources = [Path(folder, name) for name in names if name.endswith(".py")]
        compiled += sum(compile_file(path, site, archive, staging) for path in sources)
    return compiled


def compile_file(path: Path, site: str, archive: Path, staging: Path) -> bool:
    """Compile one file, which appears whole or not at all: another build may copy the folder at this moment."""
    target = path.parent / "__pycache__" / f"{path.stem}.{sys.implementation.cache_tag}.pyc"
    unfinished = staging / "unfinished.pyc"
    try:
        if path.is_symlink() or path.stat().st_size > LARGEST or target.exists():
            return False
        py_compile.compile(
            str(path),
            cfile=str(unfinished),
            dfile=f"{site}/{path.relative_to(archive)}",
            doraise=True,
            invalidation_mode=py_compile.PycInvalidationMode.CHECKED_HASH,
        )
        target.parent.mkdir(exist_ok=True)
        unfinished.replace(target)
    except (py_compile.PyCompileError, OSError, ValueError, RecursionError, MemoryError):
        return False  # templates, Python 2: its import will say so, if anybody imports it
    return True


def main(arguments: list[str]) -> int:
    """Compile; gives 0."""
    cache, site, seconds = arguments
    sys.stdout.write(f"{compile_cache(Path(cache), site, time.monotonic() + float(seconds))}\n")
    return 0


if __name__ == "__main__":  # pragma: no cover - tests run it as a program
    sys.exit(main(sys.argv[1:]))
