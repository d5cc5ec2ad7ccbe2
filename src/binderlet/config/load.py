"""Reads the settings: defaults, then one TOML file, then the environment, then flags; each wins over those before.

Whatever is wrong stops the start with a sentence that begins with the key's path. Where each value came from
is remembered for ``binderlet config show``.

The sources are merged here rather than by pydantic-settings: flags need the same parsing as the environment,
unknown variables must fail, and every value needs its origin.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_origin

from pydantic import ValidationError

from binderlet.config.keys import DELIMITER, ENVIRONMENT_PREFIX, field_at, keys
from binderlet.config.problems import problems
from binderlet.config.redact import MASK, redact_urls
from binderlet.config.schema import Settings
from binderlet.errors import ConfigError

FILE_VARIABLE = "BINDERLET_CONFIG"
USUAL_FILES = (Path("binderlet.toml"), Path("/etc/binderlet/binderlet.toml"))
DEFAULT = "default"
SECRET_NAME = re.compile(r"token|secret|passw|credential|key$", re.IGNORECASE)

KeyPath = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Row:
    """One setting as ``config show`` prints it."""

    key: str
    value: Any
    """As in TOML, secrets masked."""
    origin: str
    """``default``, ``file PATH``, ``environment NAME`` or ``flag``."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """Settings, and where each value came from."""

    settings: Settings
    file: Path | None
    origins: Mapping[KeyPath, str]
    """For every value that is not a default."""

    def rows(self) -> list[Row]:
        """Give every setting with its value and origin; secrets are masked."""
        values = self.settings.model_dump(mode="json")
        return [Row(key.name, _shown(_at(values, key.path)), self._origin(key.path)) for key in keys()]

    def _origin(self, path: KeyPath) -> str:
        inside = [origin for other, origin in self.origins.items() if other[: len(path)] == path]
        return ", ".join(dict.fromkeys(inside)) or DEFAULT


def load(
    file: Path | None = None,
    *,
    environ: Mapping[str, str],
    flags: Mapping[str, str] | None = None,
    usual_files: tuple[Path, ...] = USUAL_FILES,
) -> Loaded:
    """Read the settings; ``flags`` maps dotted keys to text.

    Raises:
        ConfigError: a file is missing or broken, a key is unknown or a value wrong; one line for each, each
            starting with the key's path.
    """
    chosen = choose_file(file, environ, usual_files)
    values: dict[KeyPath, Any] = {}
    origins: dict[KeyPath, str] = {}
    layers = [
        ((path, value, f"file {chosen}") for path, value in _file_values(chosen)),
        _environment_values(environ),
        _flag_values(flags or {}),
    ]
    for layer in layers:
        for path, value, origin in layer:
            values[path], origins[path] = value, origin
    try:
        settings = Settings.model_validate(_nest(values))
    except ValidationError as error:
        raise ConfigError("\n".join(problems(error, origins))) from None  # its own text would show secrets
    return Loaded(settings, chosen, origins)


def choose_file(file: Path | None, environ: Mapping[str, str], usual_files: tuple[Path, ...]) -> Path | None:
    """Give the file to read: the one that is named, else the first of the usual ones that is there."""
    named = file or (Path(environ[FILE_VARIABLE]) if environ.get(FILE_VARIABLE) else None)
    if named is not None:
        return named
    return next((usual for usual in usual_files if usual.exists()), None)


def _file_values(file: Path | None) -> Iterator[tuple[KeyPath, Any]]:
    if file is None:
        return
    try:
        body = tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{file}: cannot be read: {error.strerror}.") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{file}: is not TOML: {error}.") from error
    yield from _leaves((), body)


def _leaves(path: KeyPath, table: Mapping[str, Any]) -> Iterator[tuple[KeyPath, Any]]:
    for name, value in table.items():
        if isinstance(value, dict) and value:
            yield from _leaves((*path, name), value)
        elif value != {}:
            yield (*path, name), value


def _environment_values(environ: Mapping[str, str]) -> Iterator[tuple[KeyPath, Any, str]]:
    for name, text in sorted(environ.items()):
        if name.startswith(ENVIRONMENT_PREFIX) and name != FILE_VARIABLE:
            written = tuple(name.removeprefix(ENVIRONMENT_PREFIX).split(DELIMITER))
            lower = tuple(part.lower() for part in written)
            depth = field_at(lower)[1]
            path = lower[:depth] + written[depth:]  # names inside a table of values keep their case
            yield path, _parse(path, text), f"environment {name}"


def _flag_values(flags: Mapping[str, str]) -> Iterator[tuple[KeyPath, Any, str]]:
    for key, text in flags.items():
        path = tuple(key.split("."))
        yield path, _parse(path, text), "flag"


def _parse(path: KeyPath, text: str) -> Any:  # noqa: ANN401 - what TOML can hold
    """Read text as the key's type: lists as JSON or separated by commas, tables as JSON, the rest as it is."""
    field, depth = field_at(path)
    kind = get_origin(field.annotation) if field is not None and depth == len(path) else None
    stripped = text.strip()
    if kind is list and not stripped.startswith("["):
        return [part.strip() for part in stripped.split(",") if part.strip()]
    if kind in {list, dict}:
        try:
            return json.loads(stripped)
        except ValueError as error:
            raise ConfigError(f"{'.'.join(path)}: is not JSON: {error}.") from error
    return text


def _nest(values: Mapping[KeyPath, Any]) -> dict[str, Any]:
    root: dict[str, Any] = {}
    for path, value in values.items():
        branch = root
        for depth, part in enumerate(path[:-1], start=1):
            branch = branch.setdefault(part, {})
            if not isinstance(branch, dict):
                raise ConfigError(f"{'.'.join(path[:depth])}: is a table of keys, not one value.")
        if isinstance(branch.get(path[-1]), dict) and isinstance(value, dict):
            branch[path[-1]].update(value)
        else:
            branch[path[-1]] = value
    return root


def _at(values: Mapping[str, Any], path: KeyPath) -> Any:  # noqa: ANN401 - what TOML can hold
    found: Any = values
    for part in path:
        found = found[part]
    return found


def is_secret(value: Any, name: str = "") -> bool:  # noqa: ANN401 - what TOML can hold
    """Whether a value holds something that is not to be shown: passwords in URLs, variables named like secrets."""
    return bool(_shown(value, name if isinstance(value, dict) else "") != value)


def _shown(value: Any, name: str = "") -> Any:  # noqa: ANN401 - what TOML can hold
    """Mask what a value may hold of secrets: passwords in URLs, variables that are named like secrets."""
    if isinstance(value, dict):
        return {inner: _shown(text, inner) for inner, text in value.items()}
    if isinstance(value, list):
        return [_shown(item) for item in value]
    if isinstance(value, str):
        return MASK if name and SECRET_NAME.search(name) else redact_urls(value)
    return value
