"""Writes the settings that are not defaults as TOML, secrets included: for a backup, and for nobody's eyes."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from binderlet.config.schema import Settings


def as_toml(settings: Settings) -> str:
    """Give a settings file that loads as these settings, wherever each of them came from."""
    return table_as_toml(settings.model_dump(exclude_defaults=True))


def table_as_toml(table: Mapping[str, Any]) -> str:
    """Give values of settings, by sections, as a settings file."""
    return "\n".join(_tables("", table)).strip() + "\n"


def _tables(path: str, table: Mapping[str, Any]) -> list[str]:
    plain = {key: value for key, value in table.items() if not isinstance(value, Mapping)}
    lines = [f"[{path}]"] if path and plain else []
    lines += [f"{_key(key)} = {_value(value)}" for key, value in plain.items()]
    for key, value in table.items():
        if isinstance(value, Mapping):
            inside = _tables(f"{path}.{_key(key)}".lstrip("."), value)
            lines += ["", *inside] if inside else []
    return lines


def _key(key: str) -> str:
    return key if key.replace("_", "").replace("-", "").isalnum() and key.isascii() else json.dumps(key)


def _value(value: Any) -> str:  # noqa: ANN401 - what settings have
    if isinstance(value, SecretStr):
        return _value(value.get_secret_value())
    if isinstance(value, Path):
        return _value(str(value))
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{_key(key)} = {_value(each)}" for key, each in value.items()) + "}"
    if isinstance(value, Sequence) and not isinstance(value, str):
        return "[" + ", ".join(_value(each) for each in value) + "]"
    # TOML writes strings, numbers and booleans as JSON does, but for DEL.
    return json.dumps(value, ensure_ascii=True).replace("\x7f", "\\u007F")
