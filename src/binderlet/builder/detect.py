"""Reads which configuration files a checkout has, and where: ``binder/``, ``.binder/`` or the root."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from binderlet.builder import requirements
from binderlet.builder.text import decode
from binderlet.errors import BadRepository

TEXTS = ("Dockerfile", "requirements.txt", "apt.txt", "runtime.txt")
SCRIPTS = ("postBuild", "start")
NOT_YET = (
    "environment.yml",
    "environment.yaml",
    "Project.toml",
    "JuliaProject.toml",
    "REQUIRE",
    "default.nix",
    "install.R",
    "Pipfile",
    "Pipfile.lock",
)
"""Files that repo2docker knows and this builder does not; they are looked for beside the others."""
NOT_YET_IN_ROOT = ("DESCRIPTION", "setup.py", "pyproject.toml")
"""The same, which count only in the root, and only where there is no folder for configuration."""
IGNORE = (".dockerignore", ".containerignore")
LARGEST = 1024**2
"""Bytes of a configuration file; larger ones are a mistake."""
FIRST_LINE = 256
"""Bytes of a script that are read."""


@dataclass(frozen=True, slots=True)
class Detected:
    """The configuration of a checkout, read once; all paths are relative to it, with ``/``."""

    folder: str = ""
    """``binder``, ``.binder``, or empty for the root."""
    files: Mapping[str, bytes] | None = None
    """Content by path: configuration files, and what requirement files include. Of scripts only the start."""
    executable: frozenset[str] = frozenset()
    """Paths of scripts that may be executed as they are."""
    not_yet: tuple[str, ...] = ()
    """Paths of configuration that this builder does not know how to use."""
    ignore: str = ""
    """What ``.dockerignore`` and ``.containerignore`` say."""

    def path(self, name: str) -> str:
        """Give the path of a configuration file, or empty where it is absent."""
        path = f"{self.folder}/{name}" if self.folder else name
        return path if path in (self.files or {}) else ""

    def content(self, name: str) -> bytes:
        """Give a configuration file's content; empty where it is absent."""
        return (self.files or {}).get(self.path(name), b"")


def detect(checkout: Path) -> Detected:
    """Read the configuration of a checkout. Blocks on the disk.

    Raises:
        BadRepository: there is both ``binder/`` and ``.binder/``, a file is too large, is a link that leads out of
            the repository, or includes one that does not exist.
    """
    reader = _Reader(checkout)
    folder = reader.folder()
    prefix = f"{folder}/" if folder else ""
    files: dict[str, bytes] = {}
    for name in TEXTS:
        if (content := reader.read(prefix + name)) is not None:
            files[prefix + name] = content
    executable = set()
    for name in SCRIPTS:
        path = prefix + name
        if (content := reader.read(path, only=FIRST_LINE)) is not None:
            files[path] = content
            if os.access(checkout / path, os.X_OK):
                executable.add(path)
    if f"{prefix}Dockerfile" not in files:
        _add_included(reader, prefix + "requirements.txt", files)
    return Detected(
        folder=folder,
        files=files,
        executable=frozenset(executable),
        not_yet=_not_yet(reader, prefix),
        ignore="\n".join(decode(reader.read(prefix + name) or b"", prefix + name)[0] for name in IGNORE).strip(),
    )


def _not_yet(reader: _Reader, prefix: str) -> tuple[str, ...]:
    found = [prefix + name for name in NOT_YET if reader.exists(prefix + name)]
    if not prefix:
        found += [name for name in NOT_YET_IN_ROOT if reader.exists(name) and _counts(reader, name)]
    return tuple(found)


def _counts(reader: _Reader, name: str) -> bool:
    """Whether a file in the root makes the repository a package; a pyproject.toml may only configure tools."""
    if name != "pyproject.toml":
        return True
    try:
        body = tomllib.loads((reader.read(name) or b"").decode("utf-8", "replace"))
    except tomllib.TOMLDecodeError:
        return False
    return "project" in body and "build-system" in body


def _add_included(reader: _Reader, path: str, files: dict[str, bytes]) -> None:
    """Read what requirement files include, and what those include."""
    waiting = [path] if path in files else []
    while waiting:
        current = waiting.pop()
        text, _ = decode(files[current], current)
        for other in requirements.included(text, current):
            if other in files:
                continue
            content = reader.read(other)
            if content is None:
                raise BadRepository(f"{current} includes {other}, which is not in the repository.")
            files[other] = content
            waiting.append(other)


class _Reader:
    """Reads files of a checkout and nothing outside it, whatever its symbolic links say."""

    def __init__(self, checkout: Path) -> None:
        self._root = checkout.resolve()

    def folder(self) -> str:
        """Give the folder for configuration."""
        found = [name for name in (".binder", "binder") if (self._root / name).is_dir()]
        if len(found) > 1:
            raise BadRepository(
                "The repository has both a 'binder' and a '.binder' folder.", hint="Keep one of the two folders."
            )
        return found[0] if found else ""

    def exists(self, path: str) -> bool:
        return (self._root / path).is_file()

    def read(self, path: str, *, only: int = 0) -> bytes | None:
        """Give a file's content, or its first ``only`` bytes; None where there is no such file."""
        full = (self._root / path).resolve()
        if not full.is_relative_to(self._root):
            raise BadRepository(f"{path} is a link that leads out of the repository.")
        if not full.is_file():
            return None
        with full.open("rb") as file:
            if only:
                return file.read(only)
            content = file.read(LARGEST + 1)
        if len(content) > LARGEST:
            raise BadRepository(f"{path} is larger than {LARGEST // 1024} kB.")
        return content
