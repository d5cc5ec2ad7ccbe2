"""Decides what to build from the configuration files of a repository (pure)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from enum import StrEnum

from binderlet.builder import requirements
from binderlet.builder.detect import Detected
from binderlet.builder.requirements import Line
from binderlet.builder.text import decode
from binderlet.errors import BadRepository

APT_PACKAGE = re.compile(r"[a-z0-9][a-z0-9+.-]*[a-z0-9+.](:[a-z0-9]+)?(=[A-Za-z0-9.+:~*-]+|/[a-z0-9-]+)?")
LEGACY_BASE = re.compile(r"^\s*FROM\s+\S*andrewosh/binder-base", re.IGNORECASE | re.MULTILINE)

PACKAGE_FILES = {"setup.py", "pyproject.toml"}
"""What makes a repository a package, which a line such as ``-e .`` in its requirement file installs."""


class Kind(StrEnum):
    """The two ways to build."""

    PYTHON = "python"
    """On binderlet's base image: an environment and the repository's files on top."""
    DOCKERFILE = "dockerfile"
    """The repository's own Dockerfile, as it is."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What to build; all paths are relative to the checkout, with ``/``."""

    kind: Kind
    python: str = ""
    """``3.11``; empty for a Dockerfile."""
    apt: tuple[str, ...] = ()
    """Debian packages, sorted."""
    requirements_file: str = ""
    """The requirement file; empty where there is none, or nothing in it."""
    requirements: Mapping[str, str] = field(default_factory=dict)
    """Text by path: the requirement file and what it includes, without the lines that need the repository's files."""
    local: tuple[str, ...] = ()
    """Arguments of ``pip install`` that need the repository's files."""
    post_build: str = ""
    start: str = ""
    executable: frozenset[str] = frozenset()
    """Which of the two scripts may be executed as they are."""
    dockerfile: str = ""
    ignore: str = ""
    """Patterns of files that stay out of the image."""
    reasons: tuple[str, ...] = ()
    """Sentences for the log: what was found and what follows from it."""


def make_plan(found: Detected, python: str) -> Plan:
    """Decide what to build on a base image that has Python ``python``, such as ``3.11``.

    Raises:
        BadRepository: a file is wrong or asks for what this builder cannot do; the message names file and line.
    """
    if path := found.path("Dockerfile"):
        return _dockerfile_plan(found, path)
    reasons: list[str] = []
    _check_runtime(found, python, reasons)
    packages = _apt(found, reasons)
    files, local = _requirements(found, reasons)
    _check_not_yet(found, reasons, installs_itself=bool(local))
    for name in ("postBuild", "start"):
        _check_script(found, name, reasons)
    if not reasons:
        reasons.append("The repository has no environment files: it gets the default Python environment.")
    return Plan(
        kind=Kind.PYTHON,
        python=python,
        apt=packages,
        requirements_file=found.path("requirements.txt") if files else "",
        requirements=files,
        local=local,
        post_build=found.path("postBuild"),
        start=found.path("start"),
        executable=found.executable,
        ignore=found.ignore,
        reasons=tuple(reasons),
    )


def _dockerfile_plan(found: Detected, path: str) -> Plan:
    text, note = decode(found.content("Dockerfile"), path)
    if LEGACY_BASE.search(text):
        raise BadRepository(f"{path} builds on andrewosh/binder-base, which is no longer supported.")
    reasons = [note] if note else []
    reasons.append(f"Building {path}; all other configuration files are left out.")
    return Plan(kind=Kind.DOCKERFILE, dockerfile=path, reasons=tuple(reasons))


def _check_not_yet(found: Detected, reasons: list[str], *, installs_itself: bool) -> None:
    """Go on without a file we cannot use only where a requirement file says what is needed, too."""
    names = ", ".join(name for name in found.not_yet if not (installs_itself and name in PACKAGE_FILES))
    if not names:
        return
    if not found.path("requirements.txt"):
        raise BadRepository(
            f"This version of binderlet cannot use {names} yet.",
            hint="Add a requirements.txt, and an apt.txt for Debian packages, or a Dockerfile.",
        )
    reasons.append(f"This version of binderlet cannot use {names} yet: it is left out.")


def _check_runtime(found: Detected, python: str, reasons: list[str]) -> None:
    path = found.path("runtime.txt")
    if not path:
        return
    text, note = decode(found.content("runtime.txt"), path)
    if note:
        reasons.append(note)
    name, version, day = _parse_runtime(text.strip(), path)
    if name == "r" and day:
        raise BadRepository(f"{path} asks for R, which this version of binderlet cannot install yet.")
    if name != "python":
        reasons.append(f"{path}: {text.strip()!r} asks for nothing that is known here, so Python {python} is used.")
        return
    if day:
        reasons.append(f"{path}: the date {day} is not used; packages are today's.")
    if version in {"", "3"}:
        reasons.append(f"{path} leaves the version of Python open: {python}.")
    elif re.fullmatch(r"\d+\.\d+", version) is None and version != "2":
        raise BadRepository(f"{path}: the version of Python must be given as 'x.y', such as python-{python}.")
    elif version != python:
        raise BadRepository(
            f"{path} asks for Python {version}; this service has Python {python}.",
            hint=f"Write python-{python}, or remove runtime.txt.",
        )
    else:
        reasons.append(f"{path}: Python {version}.")


def _parse_runtime(text: str, path: str) -> tuple[str, str, str]:
    """Give name, version and date of ``name-version``, ``name-version-yyyy-mm-dd`` or ``name-yyyy-mm-dd``."""
    parts = text.split("-")
    wrong = f"{path}: {text!r} is not of the form python-3.11."
    if not all(parts) or len(parts) not in {2, 4, 5}:
        raise BadRepository(wrong)
    name, version = parts[0], parts[1] if len(parts) != 4 else ""  # noqa: PLR2004 - a name and a date
    day = "-".join(parts[-3:]) if len(parts) > 2 else ""  # noqa: PLR2004 - a date has three parts
    if day and re.fullmatch(r"\d{4}-\d{2}-\d{2}", day) is None:
        raise BadRepository(wrong)
    try:
        if day:
            date.fromisoformat(day)
    except ValueError as error:
        raise BadRepository(f"{path}: {day} is not a date.") from error
    return name, version, day


def _apt(found: Detected, reasons: list[str]) -> tuple[str, ...]:
    path = found.path("apt.txt")
    if not path:
        return ()
    text, note = decode(found.content("apt.txt"), path)
    packages = []
    for number, line in enumerate(text.split("\n"), start=1):
        for word in line.partition("#")[0].split():
            # The whole word is checked: these words become arguments of a command that runs as root.
            if APT_PACKAGE.fullmatch(word) is None:
                raise BadRepository(f"{path}, line {number}: {word!r} is not the name of a Debian package.")
            packages.append(word)
    reasons += [note] if note else []
    reasons.append(f"{path}: {_count(len(packages), 'Debian package')}.")
    return tuple(sorted(set(packages)))


def _requirements(found: Detected, reasons: list[str]) -> tuple[dict[str, str], tuple[str, ...]]:
    """Give the files for the environment and the arguments for what has to wait for the repository's files."""
    main = found.path("requirements.txt")
    if not main:
        return {}, ()
    texts = {}
    for path, content in (found.files or {}).items():
        if path == main or path not in _configuration(found):
            texts[path], note = decode(content, path)
            reasons += [note] if note else []
    lines = {path: requirements.parse(text, path) for path, text in texts.items()}
    every = [line for of_file in lines.values() for line in of_file]
    wanted = [line for path in lines if path not in _constraints(lines) for line in lines[path] if line.is_package]
    reasons.append(f"{main}: {_count(len(wanted), 'Python requirement')}.")
    if any(line.kind is requirements.Kind.LOCAL_INDEX for line in every):
        reasons.append(f"{main} uses a folder of packages in the repository, so that each new commit installs anew.")
        return {}, ("-r", main)
    local = _local_arguments(lines)
    if local:
        reasons.append(f"{main} names the repository's own files, which each new commit installs anew.")
    if not any(line.kind is requirements.Kind.REQUIREMENT for line in wanted):
        return {}, local
    return {path: texts[path] if not local else _without_local(of_file) for path, of_file in lines.items()}, local


def _configuration(found: Detected) -> set[str]:
    """Paths that were read for their own sake, not because a requirement file includes them."""
    return {found.path(name) for name in ("Dockerfile", "apt.txt", "runtime.txt", "postBuild", "start")} - {""}


def _constraints(lines: Mapping[str, list[Line]]) -> set[str]:
    """Paths of the files that only narrow down what others ask for."""
    return {
        requirements.resolve(line, path)
        for path, of_file in lines.items()
        for line in of_file
        if line.kind is requirements.Kind.CONSTRAINT and not line.is_remote
    }


def _local_arguments(lines: Mapping[str, list[Line]]) -> tuple[str, ...]:
    """Give what pip takes, in the root of the repository, to install the lines that need the repository's files."""
    if not any(line.kind is requirements.Kind.LOCAL for of_file in lines.values() for line in of_file):
        return ()
    arguments: list[str] = []
    for path, of_file in lines.items():
        for line in of_file:
            if line.kind in {requirements.Kind.LOCAL, requirements.Kind.OPTION}:
                arguments += line.arguments
            elif line.kind is requirements.Kind.CONSTRAINT:
                arguments += ["-c", line.target if line.is_remote else requirements.resolve(line, path)]
    return tuple(arguments)


def _without_local(lines: list[Line]) -> str:
    return "".join(f"{line.text}\n" for line in lines if line.kind is not requirements.Kind.LOCAL)


def _check_script(found: Detected, name: str, reasons: list[str]) -> None:
    path = found.path(name)
    if not path:
        return
    first = found.content(name).split(b"\n")[0]
    if first.startswith(b"#!") and first.endswith(b"\r"):
        raise BadRepository(
            f"{path}, line 1: the file has Windows line ends, with which it cannot run.",
            hint=f"Save {path} with Unix line ends, and add '{path} text eol=lf' to .gitattributes.",
        )
    what = "runs once, now" if name == "postBuild" else "starts each session"
    reasons.append(f"{path}: a script that {what}.")


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
