"""Every key of the settings as a flat list: what the loader, the example and the reference page share."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin

from pydantic import BeforeValidator, SecretStr
from pydantic.fields import FieldInfo

from binderlet.config.schema import Settings
from binderlet.config.section import Section
from binderlet.config.units import parse_bytes, parse_duration

ENVIRONMENT_PREFIX = "BINDERLET_"
DELIMITER = "__"
UNITS: dict[object, str] = {parse_duration: "duration", parse_bytes: "size"}
PLAIN: dict[object, str] = {
    str: "text",
    int: "whole number",
    float: "number",
    bool: "true or false",
    Path: "path",
    SecretStr: "secret text",
}


@dataclass(frozen=True)
class Key:
    """One setting."""

    path: tuple[str, ...]
    field: FieldInfo
    default: Any
    """As it is written in TOML or JSON: ``"10m"``, not 600."""

    @property
    def name(self) -> str:
        """The dotted name, such as ``server.port``."""
        return ".".join(self.path)

    @property
    def environment(self) -> str:
        """The variable that sets it, such as ``BINDERLET_SERVER__PORT``."""
        return ENVIRONMENT_PREFIX + DELIMITER.join(part.upper() for part in self.path)

    @property
    def description(self) -> str:
        """What it means, in full sentences."""
        return self.field.description or ""

    @property
    def kind(self) -> str:
        """What may be written, in words."""
        units = [UNITS.get(part.func) for part in self.field.metadata if isinstance(part, BeforeValidator)]
        return next((unit for unit in units if unit), None) or kind_of(self.field.annotation)


def kind_of(annotation: object) -> str:
    """Say in words what values an annotation allows."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Literal:
        return "one of " + ", ".join(json.dumps(choice) for choice in arguments)
    if origin is list:
        return f"list of: {'tables' if section_at(arguments[0]) else kind_of(arguments[0])}"
    if origin is dict:
        return f"table of: {kind_of(arguments[1])}"
    if origin is Annotated:
        return kind_of(arguments[0])  # the validators say the rest when they refuse
    return PLAIN[annotation]


def section_at(annotation: object) -> type[Section] | None:
    """Give the section that an annotation means, or None where it means a value."""
    return annotation if isinstance(annotation, type) and issubclass(annotation, Section) else None


def sections() -> Iterator[tuple[tuple[str, ...], type[Section]]]:
    """Yield each table of the file that has keys of its own, with its path, in the order of the schema."""
    yield from _sections((), Settings)


def _sections(path: tuple[str, ...], section: type[Section]) -> Iterator[tuple[tuple[str, ...], type[Section]]]:
    if path:
        yield path, section
    for name, field in section.model_fields.items():
        if (inner := section_at(field.annotation)) is not None:
            yield from _sections((*path, name), inner)


@cache
def keys() -> tuple[Key, ...]:
    """Give every setting, in the order of the schema."""
    found = []
    for path, section in sections():
        defaults = section().model_dump(mode="json")
        found += [
            Key((*path, name), field, defaults[name])
            for name, field in section.model_fields.items()
            if section_at(field.annotation) is None
        ]
    return tuple(found)


def field_at(path: tuple[str, ...]) -> tuple[FieldInfo | None, int]:
    """Follow a path down the schema; gives the value's field, or None, and how many parts led to it."""
    section: type[Section] = Settings
    for depth, name in enumerate(path, start=1):
        field = section.model_fields.get(name)
        if field is None:
            return None, depth
        inner = section_at(field.annotation)
        if inner is None:
            return field, depth
        section = inner
    return None, len(path)
