"""Which Python a repository gets, of those that this service has (pure)."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from binderlet.builder.detect import Detected
from binderlet.builder.runtime import parse_runtime
from binderlet.builder.text import decode
from binderlet.errors import BadRepository

REPO2DOCKER_PYTHONS = ("2.7", *(f"3.{minor}" for minor in range(5, 15)))


class OtherPythonError(Exception):
    """The repository needs a Python that only repo2docker has; the message says which file asks for it."""


@dataclass(frozen=True, slots=True)
class Pythons:
    """The Pythons of this service, each such as ``3.11``."""

    own: str
    """The base image's, which a repository gets that asks for none."""
    others: tuple[str, ...] = ()
    """Those that a base image is made for when a repository asks for one."""

    @property
    def every(self) -> tuple[str, ...]:
        """All that a repository may ask for, oldest first; those of repo2docker, too."""
        return tuple(sorted({self.own, *self.others, *REPO2DOCKER_PYTHONS}, key=version_order))

    def choose(self, path: str, version: str) -> str:
        """Give the Python that a file asks for.

        Raises:
            OtherPythonError: only repo2docker has it.
            BadRepository: nobody has it.
        """
        if version == self.own or version in self.others:
            return version
        if version in REPO2DOCKER_PYTHONS:
            here = ", ".join(sorted({self.own, *self.others}, key=version_order))
            raise OtherPythonError(f"{path} asks for Python {version} and this service has Python {here}")
        raise BadRepository(
            f"{path} asks for Python {version}, which is not available.",
            hint=f"These are available: Python {', '.join(self.every)}. {self.own} is the quickest.",
        )

    def newest(self, fits: Callable[[str], bool]) -> str:
        """Give this service's own where it fits, else the newest that does; empty where none does."""
        ours = [each for each in sorted(self.others, key=version_order, reverse=True) if fits(each)]
        theirs = [each for each in reversed(REPO2DOCKER_PYTHONS) if fits(each)]
        return next(iter([*([self.own] if fits(self.own) else []), *ours, *theirs]), "")


def read_runtime(found: Detected, pythons: Pythons, reasons: list[str], chosen: str = "") -> tuple[str, str]:
    """Give the Python that ``runtime.txt`` asks for and the day that packages must not be newer than, or empty.

    Where another file has ``chosen`` the Python already, only the day counts.

    Raises:
        OtherPythonError: only repo2docker has that Python.
        BadRepository: the file is wrong, or nobody has it.
    """
    path = found.path("runtime.txt")
    if not path:
        return chosen or pythons.own, ""
    text, note = decode(found.content("runtime.txt"), path)
    if note:
        reasons.append(note)
    runtime = parse_runtime(text, path)
    python = chosen or pythons.own
    if runtime.name != "python":
        reasons.append(f"{path}: {text.strip()!r} asks for nothing that is known here, so Python {python} is used.")
        return python, ""
    if chosen:
        reasons.append(f"{path}: its version of Python is left out; another file has chosen {chosen}.")
    elif runtime.version in {"", "3"}:
        reasons.append(f"{path} leaves the version of Python open: {python}.")
    elif re.fullmatch(r"\d+\.\d+", runtime.version) is None and runtime.version != "2":
        raise BadRepository(
            f"{path}: the version of Python must be given as 'x.y', such as python-{pythons.own}.",
            hint=f"These are available: Python {', '.join(pythons.every)}.",
        )
    else:
        python = pythons.choose(path, runtime.version)
        reasons.append(f"{path}: Python {python}.")
    if runtime.day:
        reasons.append(f"{path}: the repository's packages are those of {runtime.day}.")
    return python, runtime.day


def version_order(version: str) -> tuple[int, ...]:
    """Give what versions are sorted by, such as ``3.11``: oldest first."""
    return tuple(int(part) for part in version.split("."))
