"""Options that several commands share, and what they mean."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from binderlet.errors import ConfigError

if TYPE_CHECKING:
    from binderlet.config.load import Loaded

ConfigFile = Annotated[
    Path | None,
    typer.Option(
        "--config", "-c", help="The TOML file. Else BINDERLET_CONFIG, ./binderlet.toml, /etc/binderlet/binderlet.toml."
    ),
]
SetKeys = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="One setting, such as server.port=9000. May be repeated."),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def read_settings(
    config: Path | None = None, keys: Sequence[str] | None = None, flags: Mapping[str, object] | None = None
) -> Loaded:
    """Load the settings; ``flags`` maps dotted keys to what a flag of its own was given, None where it was not.

    Raises:
        ConfigError: see ``binderlet.config.load.load``; or ``--set`` was given something that is not KEY=VALUE.
    """
    from binderlet.config.load import load

    given = {key: str(value) for key, value in (flags or {}).items() if value is not None}
    return load(config, environ=os.environ, flags=parse_keys(keys or ()) | given)


def parse_keys(keys: Sequence[str]) -> dict[str, str]:
    """Split each ``KEY=VALUE``."""
    found = {}
    for text in keys:
        key, separator, value = text.partition("=")
        if not separator or not key.strip():
            raise ConfigError(f"{text}: is not KEY=VALUE.", hint="For example: --set server.port=9000")
        found[key.strip()] = value
    return found
