"""Reads Go templates (pure): texts, values, conditions, ranges, definitions and variables.

What the language has besides is refused by name, so that a chart that grows beyond this is noticed by its tests.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

ACTION = re.compile(r"\{\{(-(?=\s))?\s*(/\*.*?\*/|.*?)\s*((?<=\s)-)?\}\}", re.DOTALL)
TOKEN = re.compile(
    r"""\s*(?:
    (?P<text>"(?:[^"\\]|\\.)*"|`[^`]*`)
    |(?P<number>-?\d+)
    |(?P<mark>:=|[(),|])
    |(?P<path>\$\w*(?:\.\w+)*|\.(?:\w+(?:\.\w+)*)?)
    |(?P<word>\w+)
    )""",
    re.VERBOSE,
)
BLOCKS = {"if", "with", "range", "define"}


class TemplateError(ValueError):
    """A template is none, or says more than is understood here."""


@dataclass(frozen=True, slots=True)
class Literal:
    """A text, a number, or a truth value."""

    value: str | int | bool


@dataclass(frozen=True, slots=True)
class Path:
    """A value by its names: ``.Values.instance``, ``$own.image``; ``root`` is ``.``, ``$`` or ``$own``."""

    root: str
    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Name:
    """A function."""

    name: str


@dataclass(frozen=True, slots=True)
class Pipe:
    """Commands, each of which gets what the one before gave as its last argument."""

    commands: tuple[tuple[Word, ...], ...]


Word = Literal | Path | Name | Pipe


@dataclass(frozen=True, slots=True)
class Print:
    """Shows a value."""

    pipe: Pipe


@dataclass(frozen=True, slots=True)
class Assign:
    """Names a value."""

    name: str
    pipe: Pipe


@dataclass(frozen=True, slots=True)
class Choice:
    """``if``, ``with`` or ``range``: what is shown for a value, and what where there is none."""

    kind: str
    pipe: Pipe
    names: tuple[str, ...]
    """Variables of a range."""
    body: Block
    otherwise: Block


Node = str | Print | Assign | Choice
Block = tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Template:
    """One file."""

    body: Block
    defined: Mapping[str, Block]


def parse(source: str) -> Template:
    """Read a file.

    Raises:
        TemplateError: it is not understood.
    """
    reader = _Reader(_pieces(source))
    body, end = reader.block()
    if end:
        raise TemplateError(f"{end!r} ends nothing")
    return Template(body, reader.defined)


def _pieces(source: str) -> list[str | list[Word | str]]:
    """Give texts, trimmed as the actions beside them say, and actions as their tokens; comments are left out."""
    found: list[str | list[Word | str]] = []
    at, trims = 0, False
    for action in ACTION.finditer(source):
        text = source[at : action.start()]
        text = text.lstrip() if trims else text
        found.append(text.rstrip() if action[1] else text)
        if not action[2].startswith("/*"):
            found.append(_tokens(action[2]))
        at, trims = action.end(), bool(action[3])
    found.append(source[at:].lstrip() if trims else source[at:])
    return found


def _tokens(action: str) -> list[Word | str]:
    found: list[Word | str] = []
    at = 0
    while at < len(action.rstrip()):
        token = TOKEN.match(action, at)
        if token is None:
            raise TemplateError(f"{action!r} is not understood")
        at = token.end()
        found.append(_token(token))
    return found


def _token(token: re.Match[str]) -> Word | str:
    if text := token["text"]:
        return Literal(text[1:-1] if text[0] == "`" else str(json.loads(text)))
    if number := token["number"]:
        return Literal(int(number))
    if path := token["path"]:
        root, *names = path.split(".")
        return Path(root or ".", tuple(filter(None, names)))
    if word := token["word"]:
        return Literal(word == "true") if word in {"true", "false"} else Name(word)
    return token["mark"]


class _Reader:
    """Takes pieces one after the other."""

    def __init__(self, pieces: Sequence[str | list[Word | str]]) -> None:
        self._pieces = list(reversed(pieces))
        self.defined: dict[str, Block] = {}

    def block(self) -> tuple[Block, str]:
        """Read up to an ``else`` or ``end`` that is not of a block within, or to the end; gives which of them it was.

        ``else if`` is left to be read again as an ``if`` of its own.
        """
        found: list[Node] = []
        while self._pieces:
            piece = self._pieces.pop()
            if isinstance(piece, str):
                found += [piece] if piece else []
                continue
            match piece:
                case [Name("end")]:
                    return tuple(found), "end"
                case [Name("else"), *rest]:
                    if rest:
                        self._pieces.append(rest)
                    return tuple(found), "else if" if rest else "else"
                case [Name(kind), *rest] if kind in BLOCKS:
                    found += self._inner(kind, rest)
                case [Path(root, ()), ":=", *rest] if root.startswith("$"):
                    found.append(Assign(root, _pipe(rest)))
                case _:
                    found.append(Print(_pipe(piece)))
        return tuple(found), ""

    def _inner(self, kind: str, head: list[Word | str]) -> list[Node]:
        names: tuple[str, ...] = ()
        if kind == "range" and ":=" in head:
            at = head.index(":=")
            names = tuple(each.root for each in head[:at] if isinstance(each, Path))
            head = head[at + 1 :]
        body, end = self.block()
        otherwise: Block = ()
        if end == "else":
            otherwise, end = self.block()
        elif end == "else if":
            head_of_next = self._pieces.pop()
            otherwise, end = tuple(self._inner("if", list(head_of_next)[1:])), "end"
        if end != "end":
            raise TemplateError(f"a {kind!r} has no end")
        if kind != "define":
            return [Choice(kind, _pipe(head), names, body, otherwise)]
        match head:
            case [Literal(str() as name)]:
                self.defined[name] = body
                return []
        raise TemplateError("a definition has no name")


def _pipe(tokens: Sequence[Word | str]) -> Pipe:
    pipe, rest = _commands(list(tokens))
    if rest:
        raise TemplateError(f"{rest[0]!r} is one too many")
    return pipe


def _commands(tokens: list[Word | str]) -> tuple[Pipe, list[Word | str]]:
    commands: list[tuple[Word, ...]] = []
    words: list[Word] = []
    while tokens and tokens[0] != ")":
        first = tokens.pop(0)
        if first == "(":
            inner, tokens = _commands(tokens)
            if not tokens:
                raise TemplateError("a parenthesis has no end")
            tokens.pop(0)
            words.append(inner)
        elif first == "|":
            commands.append(tuple(words))
            words = []
        elif isinstance(first, str):
            raise TemplateError(f"{first!r} does not belong there")
        else:
            words.append(first)
    commands.append(tuple(words))
    if not all(commands):
        raise TemplateError("there is no value")
    return Pipe(tuple(commands)), tokens
