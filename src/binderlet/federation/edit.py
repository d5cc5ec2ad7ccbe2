"""Changes one member's keys in the federation's file and leaves every other character as it was: pure."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Mapping

from binderlet.errors import ConfigError

Value = str | int | float | bool | None
"""None takes the key away."""
HEADER = re.compile(r"^\s*\[")


def change(text: str, file: str, member: str, values: Mapping[str, Value]) -> str:
    """Give the file's text with these keys of a member set; ``file`` tells the kind by its ending.

    Raises:
        ConfigError: the file has no such member, or cannot be changed by a program.
    """
    return (
        _change_json(text, file, member, values) if file.endswith(".json") else _change_toml(text, file, member, values)
    )


def _change_json(text: str, file: str, member: str, values: Mapping[str, Value]) -> str:
    body = json.loads(text)
    host = body.get("hosts", {}).get(member)
    if not isinstance(host, dict):
        raise _missing(file, member, [name for name, one in body.get("hosts", {}).items() if one])
    for key, value in values.items():
        if value is None:
            host.pop(key, None)
        else:
            host[key] = value
    indent = re.search(r"^( +)\"", text, re.MULTILINE)
    return json.dumps(body, indent=len(indent[1]) if indent else None) + "\n" * text.endswith("\n")


def _change_toml(text: str, file: str, member: str, values: Mapping[str, Value]) -> str:
    members = tomllib.loads(text).get("members", {})
    if member not in members:
        raise _missing(file, member, list(members))
    lines = text.splitlines(keepends=True)
    name = re.escape(member)
    header = re.compile(rf"^\s*\[\s*members\s*\.\s*(?:{name}|\"{name}\"|'{name}')\s*\]")
    start = next((number for number, line in enumerate(lines) if header.match(line)), None)
    if start is None:
        raise ConfigError(
            f"{file}: {member} has no table of its own.", hint=f"Write it as [members.{member}] and keys below."
        )
    end = next((number for number in range(start + 1, len(lines)) if HEADER.match(lines[number])), len(lines))
    inside = lines[start + 1 : end]
    for key, value in values.items():
        inside = _set(inside, key, value)
    changed = "".join([*lines[: start + 1], *inside, *lines[end:]])
    if not _holds(changed, member, values):
        raise ConfigError(f"{file}: the keys of {member} cannot be changed by a program.", hint="Change them by hand.")
    return changed


def _holds(text: str, member: str, values: Mapping[str, Value]) -> bool:
    try:
        found = tomllib.loads(text)["members"][member]
    except (tomllib.TOMLDecodeError, KeyError):
        return False
    return all(found.get(key) == value for key, value in values.items())


def _set(lines: list[str], key: str, value: Value) -> list[str]:
    line = re.compile(rf"^\s*{re.escape(key)}\s*=")
    kept = [one for one in lines if not line.match(one)]
    if value is None:
        return kept
    place = next((number for number, one in enumerate(lines) if line.match(one)), 0)
    return [*kept[:place], f"{key} = {json.dumps(value)}\n", *kept[place:]]


def _missing(file: str, member: str, members: list[str]) -> ConfigError:
    return ConfigError(f"{file}: there is no member {member!r}.", hint=f"It has {', '.join(members) or 'none'}.")
