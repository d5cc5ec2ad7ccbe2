"""What ``federation drain`` and ``federation ramp`` change: a running member's wishes, or the federation's file."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from binderlet.cli.ask import ask
from binderlet.errors import ConfigError
from binderlet.federation.config import parse
from binderlet.federation.edit import Value, change

if TYPE_CHECKING:
    from binderlet.config.schema import Settings

BEFORE = "weight_before_drain"
"""Where mybinder.org's kind of file, which knows no drain, keeps a drained member's weight."""
FIRST = 0.1
"""Part of the weight on the first day of a ramp, where none was given."""


def wish(settings: Settings, query: str) -> None:
    """Tell the running service, and say what it tells redirectors from now on."""
    told = ask(settings, "POST", f"/federation?{query}")
    state = "asks for no new launches" if told["draining"] else f"asks for {told['share']:.0%} of its weight"
    typer.echo(f"This member {state}; redirectors know by their next probe.")


def change_file(file: Path, member: str, values: Mapping[str, Value]) -> None:
    """Change a member's keys, whole or not at all, after reading the result as a redirector would."""
    if not member:
        raise ConfigError(f"{file}: which member?", hint="Name the one that is to be changed.")
    changed = change(read_file(file), str(file), member, values)
    parse(changed, str(file))
    part = file.with_name(f".{file.name}.part")
    part.write_text(changed, encoding="utf-8")
    part.chmod(file.stat().st_mode)
    part.replace(file)
    typer.echo(f"{file}: {member} is changed; redirectors that read this file follow within seconds.")


def read_file(file: Path) -> str:
    """Read the federation's file as text."""
    try:
        return file.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"{file}: cannot be read: {error.strerror}.") from error


def is_json(file: Path) -> bool:
    """Tell mybinder.org's kind of file."""
    return file.suffix == ".json"


def drain_values(file: Path, member: str, *, off: bool) -> dict[str, Value]:
    """Give the keys that drain a member, or give it back what it had."""
    if not is_json(file):
        return {"drain": None if off else True}
    host = json.loads(read_file(file)).get("hosts", {}).get(member) or {}
    if off:
        return {"weight": host.get(BEFORE, host.get("weight", 1)), BEFORE: None}
    return {"weight": 0, BEFORE: host.get(BEFORE, host.get("weight", 1))}


def ramp_values(file: Path, share: float, weight: float | None, start: str, days: float) -> dict[str, Value]:
    """Give the keys that let a member's weight grow; mybinder.org's kind of file has a weight and no calendar."""
    if is_json(file):
        if weight is None:
            raise ConfigError(
                f"{file}: this kind of file has no calendar.", hint="Give --weight, and more of it later."
            )
        return {"weight": weight * share}
    values: dict[str, Value] = {
        "ramp_start": start or f"{datetime.now(UTC):%Y-%m-%d}",
        "ramp_days": days,
        "ramp_first": share if share < 1 else FIRST,
    }
    if weight is not None:
        values["weight"] = weight
    return values
