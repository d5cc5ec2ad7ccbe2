"""Reads ``environment.yml`` (pure)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import yaml
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from binderlet.builder.conda import channels
from binderlet.builder.text import decode
from binderlet.errors import BadRepository

NAME = re.compile(r"\s*(?:\S+::)?([A-Za-z0-9_][A-Za-z0-9_.-]*)")
PYTHON_VERSION = re.compile(r"python\s*=+\s*([\d.]*)")
"""repo2docker's own; ``python>=3.12`` says nothing about the version that is aimed at."""
FILE = re.compile(r"^\s*(?:[a-z+]+://|file:|\.{0,2}/|~)|\.(?:conda|tar\.bz2)\s*$")
VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
KNOWN = {"name", "channels", "dependencies", "prefix", "variables"}
OLDEST_PYTHON = (3, 7)
"""The oldest that a Jupyter server still runs on."""
LARGEST = 256 * 1024
"""Bytes of a file. The loader is the slow one on purpose: the quick one, in C, crashes on brackets without end."""


@dataclass(frozen=True, slots=True)
class EnvironmentFile:
    """What an ``environment.yml`` asks for; its name and prefix say nothing, as there is one environment only."""

    path: str
    channels: tuple[str, ...] = ()
    """Names and URLs as written, the first counts most; empty where there are none."""
    specs: tuple[str, ...] = ()
    """What is asked of conda, in conda's words and the file's order."""
    lines: Mapping[str, int] = field(default_factory=dict)
    """Line of each spec, from 1."""
    pip: str = ""
    """The ``pip`` section as a requirement file, each line where it is in the file; empty where there is none."""
    variables: Mapping[str, str] = field(default_factory=dict)
    python: str = ""
    """``x.y`` where the file pins it so."""
    beyond: str = ""
    """Why repo2docker has to build this; empty where it need not."""
    archives: tuple[str, ...] = ()
    """``address#hash`` of each package that a lock names; where there are any, nothing is solved."""

    @property
    def pip_path(self) -> str:
        """The name under which the pip section is a file."""
        return f"{self.path} (pip)"

    def is_only_pip(self, python: str) -> bool:
        """Whether a Python ``python`` (``x.y``) with pip is all that it asks of conda."""
        plain = {"pip", "python", f"python={python}", f"python={python}.*"}
        return {spec.replace(" ", "") for spec in self.specs} <= plain and not self.variables

    def names(self) -> set[str]:
        """Give the names of the packages that are asked for."""
        return {found[1].lower() for spec in self.specs if (found := NAME.match(spec))}


def read(content: bytes, path: str) -> EnvironmentFile:
    """Read a file.

    Raises:
        BadRepository: it is not YAML, or not what conda understands; the message names file and line.
    """
    if len(content) > LARGEST:
        raise BadRepository(f"{path} is larger than {LARGEST // 1024} kB.")
    root = _compose(decode(content, path)[0], path)
    if root is None:
        return EnvironmentFile(path)
    parts = dict(_entries(root, path, "the file"))
    named = tuple(text for text, _ in _texts(parts.get("channels"), path, "channels"))
    specs, lines, pip = _dependencies(parts.get("dependencies"), path)
    variables = _variables(parts.get("variables"), path)
    python = _python(specs)
    unknown = sorted(set(parts) - KNOWN)
    reasons = [f"the section {name!r}" for name in unknown]
    reasons += [f"the channel {channels.public(name)!r}" for name in named if not channels.is_usable(name)]
    reasons += [f"{spec!r}" for spec in specs if FILE.search(spec) or "[" in spec]
    if python and tuple(map(int, python.split("."))) < OLDEST_PYTHON:
        reasons.append(f"Python {python}")
    return EnvironmentFile(
        path,
        channels=named,
        specs=tuple(specs),
        lines=lines,
        pip=pip,
        variables=variables,
        python=python,
        beyond=f"{path} asks for {', '.join(reasons)}" if reasons else "",
    )


def _compose(text: str, path: str) -> Node | None:
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f", line {mark.line + 1}" if mark else ""
        raise BadRepository(f"{path}{where}: this is not YAML: {error.problem or error.context}.") from error
    except (yaml.YAMLError, RecursionError) as error:
        raise BadRepository(f"{path}: this is not YAML that can be read.") from error
    if isinstance(node, ScalarNode) and not node.value:
        return None
    return node


def _entries(node: Node, path: str, what: str) -> Iterator[tuple[str, Node]]:
    if not isinstance(node, MappingNode):
        raise _wrong(node, path, f"{what} must consist of 'name: value' pairs")
    for key, value in node.value:
        if not isinstance(key, ScalarNode):
            raise _wrong(key, path, "this name is not a word")
        yield str(key.value), value


def _texts(node: Node | None, path: str, what: str) -> Iterator[tuple[str, int]]:
    """Give the words of a list, with their lines; a single word counts as a list of one, nothing as an empty one."""
    for item in _items(node):
        if not isinstance(item, ScalarNode):
            raise _wrong(item, path, f"what is in '{what}' must be words")
        yield str(item.value).strip(), item.start_mark.line + 1


def _items(node: Node | None) -> list[Node]:
    if node is None or (isinstance(node, ScalarNode) and node.tag.endswith(":null")):
        return []
    return list(node.value) if isinstance(node, SequenceNode) else [node]


def _dependencies(node: Node | None, path: str) -> tuple[list[str], dict[str, int], str]:
    specs: list[str] = []
    lines: dict[str, int] = {}
    pip: list[tuple[str, int]] = []
    for item in _items(node):
        if isinstance(item, MappingNode):
            for name, value in _entries(item, path, "this"):
                if name != "pip":
                    raise _wrong(item, path, f"{name!r} is no part of 'dependencies' that is known; 'pip' is")
                pip += _texts(value, path, "pip")
            continue
        for text, line in _texts(item, path, "dependencies"):
            if not FILE.search(text) and NAME.match(text) is None:
                raise BadRepository(f"{path}, line {line}: {text!r} is not the name of a package.")
            specs.append(text)
            lines.setdefault(text, line)
    return specs, lines, _at_their_lines(pip)


def _at_their_lines(found: list[tuple[str, int]]) -> str:
    """Write lines so that each has the number that it has in the file: what is said about them can be found."""
    text = ""
    for line, number in found:
        text += "\n" * max(0, number - 1 - text.count("\n")) + line.replace("\n", " ") + "\n"
    return text


def _variables(node: Node | None, path: str) -> dict[str, str]:
    if not _items(node) or node is None:
        return {}
    found = {}
    for name, value in _entries(node, path, "'variables'"):
        if VARIABLE.fullmatch(name) is None or not isinstance(value, ScalarNode) or "\n" in value.value:
            raise _wrong(value, path, f"{name!r} cannot be a variable with this value")
        found[name] = str(value.value)
    return found


def _python(specs: list[str]) -> str:
    found = next((match for spec in specs if (match := PYTHON_VERSION.match(spec))), None)
    parts = found[1].rstrip(".").split(".") if found else []
    return ".".join(parts[:2]) if len(parts) > 1 and all(parts) else ""


def _wrong(node: Node, path: str, why: str) -> BadRepository:
    return BadRepository(f"{path}, line {node.start_mark.line + 1}: {why}.")
