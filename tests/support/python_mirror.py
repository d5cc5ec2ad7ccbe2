"""A small mirror of Pythons as uv downloads them, made of the Python that runs the tests."""

from __future__ import annotations

import hashlib
import io
import json
import platform
import re
import sys
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from support.gateway import Served, serve_to_containers

GITHUB = "https://github.com/astral-sh/python-build-standalone/releases/download"
RELEASE = "20260101"
LEFT_OUT = re.compile(
    r"(^|/)(__pycache__|test|tests|site-packages|dist-packages|idlelib|tkinter|EXTERNALLY-MANAGED)(/|$)"
)
VERSION = sys.version.split()[0]
MINOR = f"{sys.version_info[0]}.{sys.version_info[1]}"


@contextmanager
def serve_pythons(folder: Path) -> Iterator[Served]:
    """Serve this Python in the layout of standalone builds, and ``list.json``, the list that has it."""
    _write(folder)
    with serve_to_containers(folder) as served:
        yield served


def _write(folder: Path) -> None:
    """Write the archive and the list that has it, with GitHub's address as in uv's own."""
    name = f"cpython-{VERSION}+{RELEASE}-{platform.machine()}-unknown-linux-gnu-install_only_stripped.tar.gz"
    (folder / RELEASE).mkdir(parents=True)
    archive = _archive()
    (folder / RELEASE / name).write_bytes(archive)
    major, minor, patch = sys.version_info[:3]
    entry = {
        "name": "cpython",
        "arch": {"family": platform.machine(), "variant": None},
        "os": "linux",
        "libc": "gnu",
        "major": major,
        "minor": minor,
        "patch": patch,
        "prerelease": "",
        "url": f"{GITHUB}/{RELEASE}/{name.replace('+', '%2B')}",
        "sha256": hashlib.sha256(archive).hexdigest(),
        "variant": None,
        "build": RELEASE,
    }
    (folder / "list.json").write_text(json.dumps({f"cpython-{VERSION}-linux-{platform.machine()}-gnu": entry}))


def _archive() -> bytes:
    buffer = io.BytesIO()
    stdlib = Path(sys.base_prefix) / "lib" / f"python{MINOR}"
    with tarfile.open(fileobj=buffer, mode="w:gz", compresslevel=1, dereference=True) as archive:
        archive.add(Path(sys.executable).resolve(), f"python/bin/python{MINOR}")
        archive.add(stdlib, f"python/lib/python{MINOR}", filter=_plain)
        for link in ("python", "python3"):
            info = tarfile.TarInfo(f"python/bin/{link}")
            info.type, info.linkname = tarfile.SYMTYPE, f"python{MINOR}"
            archive.addfile(info)
    return buffer.getvalue()


def _plain(info: tarfile.TarInfo) -> tarfile.TarInfo | None:
    return None if LEFT_OUT.search(info.name) else info
