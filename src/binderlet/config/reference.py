"""Writes the example file and the reference page from the schema, so that neither can be wrong."""

from __future__ import annotations

import inspect
import json
import textwrap
from typing import Any

from binderlet.config.keys import Key, keys, sections

WIDTH = 100

EXAMPLE_TOP = """\
# Every setting of binderlet, with its default.
#
# Copy this file to binderlet.toml (in the folder where binderlet starts) or to /etc/binderlet/binderlet.toml,
# and take the '#' away before the keys you change. Durations: 90s, 10m, 6h, 7d. Sizes: 512M, 2G.
# 'binderlet config check' tells what is wrong in it, 'binderlet config show' what counts and where it came from.
"""

REFERENCE_TOP = """\
# Settings

Every key, with its default. This page is written by `binderlet config docs`; the same as a commented file is
[examples/binderlet.toml](../../examples/binderlet.toml).

Where values come from, each winning over those before it:

1. the default;
2. one TOML file: the one named by `--config`, else by `BINDERLET_CONFIG`, else `./binderlet.toml`, else
   `/etc/binderlet/binderlet.toml`;
3. the environment: `BINDERLET_` and the key in capitals with `__` for each dot, so `server.port` is
   `BINDERLET_SERVER__PORT`. Lists are JSON or separated by commas, tables are JSON;
4. flags: `--set server.port=9000`, and short ones such as `--port 9000`.

An unknown key or a wrong value, wherever it stands, stops the start with a sentence that begins with the key.
`binderlet config check` finds the same without starting anything; `binderlet config show` prints what counts
and where it came from, with secrets masked.

Durations are written `90s`, `10m`, `6h` or `7d`; sizes `512M` or `2G` (powers of 1024).
"""


def toml_value(value: Any) -> str:  # noqa: ANN401 - what TOML can hold
    """Write a default as TOML."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{name} = {toml_value(inner)}" for name, inner in value.items()) + "}"
    return json.dumps(value, ensure_ascii=False)


def render_example() -> str:
    """Write the example file: every key commented out, with its documentation and default."""
    parts = [EXAMPLE_TOP]
    for path, section in sections():
        inside = [key for key in keys() if key.path[:-1] == path]
        if inside:
            parts.append(f"# {inspect.cleandoc(section.__doc__ or '').replace('``', chr(39))}\n[{'.'.join(path)}]\n")
            parts += [_example_key(key) for key in inside]
    return "\n".join(parts)


def _example_key(key: Key) -> str:
    kind = "" if key.kind == "text" else f" ({key.kind})"
    lines = textwrap.wrap(key.description + kind, WIDTH)
    return "".join(f"## {line}\n" for line in lines) + f"# {key.path[-1]} = {toml_value(key.default)}\n"


def render_reference() -> str:
    """Write the reference page in Markdown: one table of keys per section."""
    parts = [REFERENCE_TOP]
    for path, section in sections():
        inside = [key for key in keys() if key.path[:-1] == path]
        if inside:
            about = inspect.cleandoc(section.__doc__ or "").replace("``", "`")
            parts.append(f"## `[{'.'.join(path)}]`\n\n{about}\n")
            parts.append("| key | what | value | default |\n|---|---|---|---|\n" + "".join(map(_reference_row, inside)))
    return "\n".join(parts)


def _reference_row(key: Key) -> str:
    cells = (f"`{key.name}`", key.description, key.kind, f"`{toml_value(key.default)}`")
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |\n"
