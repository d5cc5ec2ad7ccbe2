"""Evaluates templates that ``parse`` read (pure)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from binderlet.deploy.template.functions import FUNCTIONS, Function, shown
from binderlet.deploy.template.parse import (
    Assign,
    Block,
    Choice,
    Literal,
    Name,
    Path,
    Pipe,
    Print,
    TemplateError,
    Word,
)


@dataclass(frozen=True, slots=True)
class _Scope:
    """What names mean at one place; variables of an outer place are seen within."""

    dot: Any
    variables: dict[str, Any] = field(default_factory=dict)

    def within(self, dot: object, **variables: object) -> _Scope:
        return _Scope(dot, self.variables | variables)


class Renderer:
    """Renders blocks; ``defined`` has those that ``include`` names."""

    def __init__(self, defined: Mapping[str, Block]) -> None:
        self._defined = defined
        self._functions: dict[str, Function] = {**FUNCTIONS, "include": self._include}

    def render(self, block: Block, data: object) -> str:
        """Give the text.

        Raises:
            TemplateError: a function or a definition is not known.
            ConfigError: the templates refuse the values.
        """
        return "".join(self._texts(block, _Scope(data, {"$": data})))

    def _include(self, name: str, data: object) -> str:
        if name not in self._defined:
            raise TemplateError(f"nothing is defined as {name!r}")
        return self.render(self._defined[name], data)

    def _texts(self, block: Block, scope: _Scope) -> Iterator[str]:
        for node in block:
            match node:
                case str():
                    yield node
                case Print(pipe):
                    yield shown(self._value(pipe, scope))
                case Assign(name, pipe):
                    scope.variables[name] = self._value(pipe, scope)
                case Choice("range"):
                    yield from self._range(node, scope)
                case Choice(kind, pipe, _, body, otherwise):
                    value = self._value(pipe, scope)
                    inner = scope.within(value if value and kind == "with" else scope.dot)
                    yield from self._texts(body if value else otherwise, inner)

    def _range(self, node: Choice, scope: _Scope) -> Iterator[str]:
        values = self._value(node.pipe, scope)
        if not values:
            yield from self._texts(node.otherwise, scope.within(scope.dot))
            return
        entries = sorted(values.items()) if isinstance(values, Mapping) else list(enumerate(values))
        for key, value in entries:
            named = (key, value) if len(node.names) > 1 else (value,)
            variables = dict(zip(node.names, named, strict=False))
            yield from self._texts(node.body, scope.within(value, **variables))

    def _value(self, pipe: Pipe, scope: _Scope) -> Any:  # noqa: ANN401 - what YAML can hold
        given: list[object] = []
        for first, *rest in pipe.commands:
            arguments = [self._word(each, scope) for each in rest] + given
            given = [self._called(first, arguments, scope)]
        return given[0]

    def _called(self, first: Word, arguments: list[object], scope: _Scope) -> object:
        found = self._function(first) if isinstance(first, Name) else self._word(first, scope)
        if callable(found):
            return found(*arguments)
        if arguments:
            raise TemplateError(f"{first} takes no argument")
        return found

    def _word(self, word: Word, scope: _Scope) -> Any:  # noqa: ANN401 - what YAML can hold
        match word:
            case Literal(value):
                return value
            case Name():
                return self._function(word)()
            case Path(root, names):
                return _at(scope.dot if root == "." else _variable(root, scope), names)
            case Pipe():
                return self._value(word, scope)

    def _function(self, name: Name) -> Function:
        if name.name not in self._functions:
            raise TemplateError(f"the function {name.name!r} is not known here")
        return self._functions[name.name]


def _variable(name: str, scope: _Scope) -> object:
    if name not in scope.variables:
        raise TemplateError(f"the variable {name!r} is not known")
    return scope.variables[name]


def _at(value: Any, names: tuple[str, ...]) -> Any:  # noqa: ANN401 - what YAML can hold
    for name in names:
        value = value.get(name) if isinstance(value, Mapping) else None
    return value
