"""Reads which configuration files a checkout has, and where: ``binder/``, ``.binder/`` or the root."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from binderlet.builder import requirements
from binderlet.builder.conda import environment_file
from binderlet.builder.conda.environment_file import EnvironmentFile
from binderlet.builder.text import decode, read_toml
from binderlet.errors import BadRepository

TEXTS = (
    "Dockerfile",
    "Project.toml",
    "JuliaProject.toml",
    "REQUIRE",
    "default.nix",
    "install.R",
    "environment.yml",
    "environment.yaml",
    "Pipfile",
    "Pipfile.lock",
    "requirements.txt",
    "apt.txt",
    "runtime.txt",
)
"""Configuration files, in the order in which repo2docker looks for them."""
ROOT_TEXTS = ("DESCRIPTION", "setup.py", "setup.cfg", "pyproject.toml")
"""The same, which count only in the root, and only where there is no folder for configuration."""
SCRIPTS = ("postBuild", "start")
CONDA_FILES = ("environment.yml", "environment.yaml")
CONDA_COMMAND = re.compile(
    rb"^[^#\n]*\b(?:conda|mamba|micromamba)[ \t]+"
    rb"(?:activate|config|create|env|info|init|install|list|remove|run|shell|update)\b",
    re.MULTILINE,
)
IGNORE = (".dockerignore", ".containerignore", ".binderignore")
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
    is_package: bool = False
    """Whether the repository itself is a Python package to install: a ``setup.py``, or a ``pyproject.toml`` that says
    both what it is and how to build it."""
    conda: EnvironmentFile | None = None
    """``environment.yml``; its pip section is one of ``files``, too."""
    calls_conda: tuple[str, ...] = ()
    """Paths of scripts that run conda or one of its kind."""
    ignore: str = ""
    """What ``.dockerignore``, ``.containerignore`` and ``.binderignore`` say."""

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
    names = [prefix + name for name in TEXTS] + ([] if folder else list(ROOT_TEXTS))
    # The Dockerfile of the root is looked at in any case: it may be one of the first Binder's.
    files = {
        name: content for name in dict.fromkeys(["Dockerfile", *names]) if (content := reader.read(name)) is not None
    }
    executable = set()
    calls_conda = []
    for name in SCRIPTS:
        path = prefix + name
        if (content := reader.read(path, only=LARGEST)) is not None:
            files[path] = content[:FIRST_LINE]
            calls_conda += [path] if CONDA_COMMAND.search(content) else []
            if os.access(checkout / path, os.X_OK):
                executable.add(path)
    conda = _conda(reader, prefix, files)
    if conda is None and not _leaves_out_requirements(prefix, files):
        _add_included(reader, prefix + "requirements.txt", files)
    return Detected(
        folder=folder,
        files=files,
        executable=frozenset(executable),
        is_package=not folder and _is_package(files),
        conda=conda,
        calls_conda=tuple(calls_conda),
        ignore="\n".join(decode(reader.read(prefix + name) or b"", prefix + name)[0] for name in IGNORE).strip(),
    )


def _conda(reader: _Reader, prefix: str, files: dict[str, bytes]) -> EnvironmentFile | None:
    """Read ``environment.yml`` and what its pip section includes; a Dockerfile makes it count for nothing.

    Raises:
        BadRepository: it is wrong.
    """
    path = next((path for name in CONDA_FILES if (path := prefix + name) in files), "")
    if not path or f"{prefix}Dockerfile" in files:
        return None
    found = environment_file.read(files[path], path)
    if found.pip:
        files[found.pip_path] = found.pip.encode("utf-8", "surrogatepass")
        _add_included(reader, found.pip_path, files)
    return found


def _leaves_out_requirements(prefix: str, files: Mapping[str, bytes]) -> bool:
    """Whether a ``requirements.txt`` counts for nothing, so that it may be as wrong as it likes."""
    if f"{prefix}Dockerfile" in files:
        return True
    language = files.get(f"{prefix}runtime.txt", b"").partition(b"-")[0].strip()
    return language in {b"", b"python"} and any(f"{prefix}{name}" in files for name in ("Pipfile", "Pipfile.lock"))


def _is_package(files: Mapping[str, bytes]) -> bool:
    """Whether the root is a Python package; a pyproject.toml may only configure tools.

    Raises:
        BadRepository: pyproject.toml is not TOML.
    """
    if "setup.py" in files:
        return True
    body = read_toml(files.get("pyproject.toml", b""), "pyproject.toml")
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
