"""The functions of Helm's templates that the chart uses (pure)."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Mapping
from typing import Any

import yaml

from binderlet.deploy.template.parse import TemplateError
from binderlet.errors import ConfigError

Function = Callable[..., Any]


def shown(value: object) -> str:
    """Give a value as a template shows it."""
    if value is None:
        return ""
    return str(value).lower() if isinstance(value, bool) else str(value)


def quote(value: object) -> str:
    """Put it in quotation marks."""
    return json.dumps(shown(value), ensure_ascii=False)


def nindent(width: int, text: str) -> str:
    """Begin a new line, and each line with so many spaces."""
    return "".join(f"\n{' ' * width}{line}" for line in text.split("\n"))


def to_yaml(value: object) -> str:
    """Give it as YAML."""
    return yaml.safe_dump(value, width=2**31, allow_unicode=True).rstrip("\n").removesuffix("\n...")


def to_json(value: object) -> str:
    """Give it as Go does: without spaces, with sorted keys, and with what HTML could take for its own escaped."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def printf(form: str, *values: object) -> str:
    """Put texts into a text; of all forms ``%s`` alone is known."""
    parts = form.split("%s")
    if any("%" in part for part in parts) or len(parts) != len(values) + 1:
        raise TemplateError(f"printf {form!r} is not understood")
    return parts[0] + "".join(shown(value) + part for value, part in zip(values, parts[1:], strict=True))


def required(message: str, value: object) -> object:
    """Refuse what is missing.

    Raises:
        ConfigError: it is.
    """
    return fail(message) if value in (None, "") else value


def fail(message: str) -> object:
    """Refuse the values.

    Raises:
        ConfigError: always.
    """
    raise ConfigError(message)


def pairs(*words: object) -> dict[object, object]:
    """Make a mapping of keys and values in turn."""
    return dict(zip(words[::2], words[1::2], strict=True))


def semver_compare(wanted: str, version: str) -> bool:
    """Compare a version with a limit such as ``>=1.30-0``."""
    limit = re.fullmatch(r"(<|>=)(\d+)\.(\d+)-0", wanted)
    found = re.match(r"v?(\d+)\.(\d+)", version)
    if limit is None or found is None:
        raise TemplateError(f"semverCompare {wanted!r} {version!r} is not understood")
    is_older = (int(found[1]), int(found[2])) < (int(limit[2]), int(limit[3]))
    return is_older if limit[1] == "<" else not is_older


def regex_find(pattern: str, text: str) -> str:
    """Give the first match; empty where there is none."""
    found = re.search(pattern, text)
    return found[0] if found else ""


def chosen(first: object, *rest: object, until: bool) -> object:
    """Give the first that is as true as ``until``, else the last."""
    last = first
    for last in (first, *rest):
        if bool(last) is until:
            break
    return last


def has_key(found: Mapping[str, object], key: str) -> bool:
    """Whether there is such a key."""
    return key in found


FUNCTIONS: Mapping[str, Function] = {
    "add": lambda *numbers: sum(map(int, numbers)),
    "and": lambda *values: chosen(*values, until=False),
    "default": lambda other, value=None: value or other,
    "dict": pairs,
    "eq": lambda one, other: one == other,
    "fail": fail,
    "get": lambda found, key: found.get(key, ""),
    "hasKey": has_key,
    "int64": int,
    "mul": lambda one, other: int(one) * int(other),
    "ne": lambda one, other: one != other,
    "nindent": nindent,
    "not": lambda value: not value,
    "or": lambda *values: chosen(*values, until=True),
    "printf": printf,
    "quote": quote,
    "regexFind": regex_find,
    "required": required,
    "semverCompare": semver_compare,
    "sha256sum": lambda text: hashlib.sha256(text.encode()).hexdigest(),
    "ternary": lambda yes, no, value: yes if value else no,
    "toJson": to_json,
    "toYaml": to_yaml,
    "tuple": lambda *values: list(values),
}
