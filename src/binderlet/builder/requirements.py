"""Reads pip's requirement files: what each line is, and whether it needs the repository's own files (pure)."""

from __future__ import annotations

import posixpath
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from packaging.requirements import InvalidRequirement, Requirement

from binderlet.errors import BadRepository

COMMENT = re.compile(r"(^|\s+)#.*$")
INCLUDE = re.compile(r"(?:-r|-c|--requirement(?=[\s=])|--constraint(?=[\s=]))\s*=?\s*(.*)")
EDITABLE = re.compile(r"(?:-e|--editable(?=[\s=]))\s*=?\s*(.*)")
FIND_LINKS = re.compile(r"(?:-f|--find-links(?=[\s=]))\s*=?\s*(.*)")
URL = re.compile(r"[a-z][a-z0-9+.-]*://", re.IGNORECASE)
LINE_OPTIONS = re.compile(r"\s--?[a-zA-Z].*$")
PIN = re.compile(r"(?m)^[a-z0-9]+(?:-[a-z0-9]+)*==[A-Za-z0-9.!+_-]+")
CONDA_EXPORT = re.compile(r"[A-Za-z0-9._-]+=[0-9][^=]*(=\S+)?")


class Kind(StrEnum):
    """What a line is."""

    REQUIREMENT = "requirement"
    LOCAL = "local"
    """A path in the repository, editable or not."""
    INCLUDE = "include"
    """Another file's requirements."""
    CONSTRAINT = "constraint"
    """Another file's constraints."""
    OPTION = "option"
    LOCAL_INDEX = "local index"
    """A folder of packages in the repository."""


@dataclass(frozen=True, slots=True)
class Line:
    """One line, its continuation lines joined and its comment taken off."""

    number: int
    """Where it starts, from 1."""
    text: str
    kind: Kind
    target: str = ""
    """What an include, a constraint or a local line names."""

    @property
    def is_package(self) -> bool:
        """Whether it asks for a package."""
        return self.kind in {Kind.REQUIREMENT, Kind.LOCAL}

    @property
    def is_remote(self) -> bool:
        """Whether an include or constraint is to be downloaded."""
        return URL.match(self.target) is not None

    @property
    def arguments(self) -> list[str]:
        """The same as arguments of ``pip install``."""
        if self.text.startswith("-"):
            return _split(self.text)
        return [self.text]


def parse(text: str, path: str) -> list[Line]:
    """Give the lines of a requirement file without comments and blanks.

    Raises:
        BadRepository: a line is neither a requirement nor an option; the message names file and line.
    """
    return [_classify(number, line, path) for number, line in _logical_lines(text)]


def included(text: str, path: str) -> list[str]:
    """Give the paths in the repository of the files that a requirement file at ``path`` includes.

    Raises:
        BadRepository: an include leads out of the repository, or a line is wrong.
    """
    return [
        resolve(line, path)
        for line in parse(text, path)
        if line.kind in {Kind.INCLUDE, Kind.CONSTRAINT} and not line.is_remote
    ]


def resolve(line: Line, path: str) -> str:
    """Give the path in the repository of what a line of the requirement file at ``path`` includes.

    Raises:
        BadRepository: it leads out of the repository.
    """
    found = posixpath.normpath(posixpath.join(posixpath.dirname(path), line.target))
    if found.startswith(("../", "/")) or found in {"..", "."}:
        raise BadRepository(f"{path}, line {line.number}: {line.target!r} is not in the repository.")
    return found


def pins_in(text: str) -> list[str]:
    """Give the pins, ``name==version``, with which lines of a tool's output begin."""
    return PIN.findall(text)


def _logical_lines(text: str) -> Iterator[tuple[int, str]]:
    """Join lines that end in a backslash, as pip does: a comment line ends the joining."""
    joined, start = "", 0
    for number, line in enumerate([*text.split("\n"), ""], start=1):
        comment = COMMENT.match(line) is not None
        if not joined:
            start = number
        if line.endswith("\\") and not comment:
            joined += line[:-1]
            continue
        whole = COMMENT.sub("", joined + ("" if comment else line)).strip()
        joined = ""
        if whole:
            yield start, whole


def _classify(number: int, text: str, path: str) -> Line:
    if found := INCLUDE.fullmatch(text):
        kind = Kind.CONSTRAINT if text.startswith(("-c", "--c")) else Kind.INCLUDE
        target = " ".join(_split(found[1], path, number))
        if not target:
            raise BadRepository(f"{path}, line {number}: {text!r} names no file.")
        return Line(number, text, kind, target)
    if found := EDITABLE.fullmatch(text):
        return Line(number, text, Kind.LOCAL if _is_path(found[1]) else Kind.REQUIREMENT, found[1])
    if found := FIND_LINKS.fullmatch(text):
        return Line(number, text, Kind.OPTION if URL.match(found[1]) else Kind.LOCAL_INDEX, found[1])
    if text.startswith("-"):
        _split(text, path, number)
        return Line(number, text, Kind.OPTION)
    if _is_local(text):
        return Line(number, text, Kind.LOCAL, text)
    _check(text, path, number)
    return Line(number, text, Kind.REQUIREMENT)


def _split(text: str, path: str = "", number: int = 0) -> list[str]:
    try:
        return shlex.split(text)
    except ValueError as error:
        raise BadRepository(f"{path}, line {number}: {text!r} cannot be read: {error}.") from error


def _is_path(target: str) -> bool:
    return not URL.match(target.removeprefix("git+").strip("\"'")) or target.startswith("file:")


def _is_local(text: str) -> bool:
    """Whether a line without a leading dash names a file or folder of the repository."""
    _, at, target = text.partition("@")
    if at and re.match(r"\s*(file:|\.|/)", target):
        return True
    if URL.match(text):
        return text.startswith("file:")
    if text.startswith((".", "/", "file:")):
        return True
    bare = LINE_OPTIONS.sub("", text.partition(";")[0]).strip()
    return not at and ("/" in bare or bare.endswith((".whl", ".tar.gz", ".zip")))


def _check(text: str, path: str, number: int) -> None:
    """Refuse what neither uv nor pip can read, in words that help."""
    if URL.match(text) or "${" in text:  # a variable is put in by pip
        return
    bare = LINE_OPTIONS.sub("", text).strip()
    try:
        Requirement(bare)
    except InvalidRequirement as error:
        reason = str(error).partition("\n")[0].rstrip(".")
        help_ = " Exact versions are written with two equals signs: name==1.0." if CONDA_EXPORT.fullmatch(bare) else ""
        raise BadRepository(f"{path}, line {number}: {text!r} is not a requirement: {reason}.{help_}") from error
