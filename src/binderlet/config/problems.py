"""Says what is wrong with settings, one line per problem, each starting with the key's path."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import SecretStr, ValidationError

from binderlet.config.keys import field_at, keys, section_at
from binderlet.config.redact import redact_urls
from binderlet.config.schema import Settings
from binderlet.config.section import Section

KeyPath = tuple[str, ...]
LONGEST_VALUE = 60


def problems(error: ValidationError, origins: Mapping[KeyPath, str]) -> list[str]:
    """Give one line for each problem: path, what is wrong, what was written unless it is secret, and where."""
    lines = []
    for detail in error.errors(include_url=False, include_context=False):
        place = detail["loc"]
        where = _where(tuple(map(str, place)), origins)
        if detail["type"] == "extra_forbidden":
            lines.append(f"{_dotted(place)}: unknown key{where}.{suggestion(tuple(map(str, place)))}")
        else:
            written = "" if detail["type"] == "value_error" else _written(place, detail["input"])
            lines.append(f"{_dotted(place)}: {_sentence(detail['msg'])}{written}{where}.")
    return lines


def suggestion(path: KeyPath) -> str:
    """Give the key that was probably meant, as the end of a sentence; empty where none is near."""
    *parents, name = path
    near = difflib.get_close_matches(name, _names(tuple(parents)), n=1)
    if near:
        return f" Did you mean {'.'.join([*parents, *near])}?"
    elsewhere = [key.name for key in keys() if key.path[-1] == name]
    if not elsewhere:
        elsewhere = difflib.get_close_matches(".".join(path), [key.name for key in keys()], n=1, cutoff=0.75)
    return f" Did you mean {' or '.join(elsewhere)}?" if elsewhere else ""


def _names(parents: KeyPath) -> list[str]:
    section: type[Section] | None = Settings
    for part in parents:
        field = section.model_fields.get(part) if section else None
        section = section_at(field.annotation) if field else None
    return list(section.model_fields) if section else []


def _dotted(place: Sequence[int | str]) -> str:
    text = ""
    for part in place:
        text += f"[{part}]" if isinstance(part, int) else f".{part}"
    return text.removeprefix(".")


def _where(path: KeyPath, origins: Mapping[KeyPath, str]) -> str:
    for length in range(len(path), 0, -1):
        if origin := origins.get(path[:length]):
            return f" (from {origin})"
    inside = [origin for other, origin in origins.items() if other[: len(path)] == path]
    return f" (from {inside[0]})" if inside else ""


def _sentence(message: str) -> str:
    for theirs, ours in (
        ("Value error, ", ""),
        ("Input should be ", "must be "),
        ("a valid dictionary or instance of ", "a table of keys, as in "),
        ("String should match pattern ", "must match "),
        (", unable to parse string as an integer", ""),
        (", unable to parse string as a number", ""),
        (", unable to interpret input", ""),
    ):
        message = message.replace(theirs, ours)
    return redact_urls(message)


def _written(place: Sequence[int | str], value: Any) -> str:  # noqa: ANN401 - whatever was written
    field, _ = field_at(tuple(map(str, place)))
    if field is None or field.annotation is SecretStr:
        return ""
    text = redact_urls(repr(value))
    return f", not {text if len(text) <= LONGEST_VALUE else text[:LONGEST_VALUE] + '...'}"
