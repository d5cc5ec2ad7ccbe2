"""``binderlet images restore``: brings the most valuable images back to a machine that lost them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from binderlet.cli.options import AsJson, ConfigFile, SetKeys, read_settings

if TYPE_CHECKING:
    from collections.abc import Mapping

EVERY = 0.5
"""Seconds between questions."""


def restore(
    *,
    count: Annotated[int, typer.Option(metavar="N", min=1, help="How many sessions' images at most.")] = 20,
    room: Annotated[str, typer.Option(metavar="SIZE", help="How much they may take, as they are stored.")] = "20G",
    as_json: AsJson = False,
    config: ConfigFile = None,
    keys: SetKeys = None,
) -> None:
    """Bring the most valuable images back from the registry, one after the other; Ctrl-C only ends the watching."""
    import json
    import time

    from binderlet.cli.ask import ask
    from binderlet.config.units import parse_bytes

    try:
        size = parse_bytes(room)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--room") from error
    settings = read_settings(config, keys).settings
    told = 0
    progress = ask(settings, "POST", f"/images/restore?count={count}&bytes={size}")
    while True:
        if not as_json:
            for each in progress["done"][told:]:
                typer.echo(line(each))
            told = len(progress["done"])
        if not progress["running"]:
            break
        time.sleep(EVERY)
        progress = ask(settings, "GET", "/images/restore")
    if as_json:
        typer.echo(json.dumps(progress["done"], indent=2))
    elif not progress["done"]:
        typer.echo("There is nothing to bring back.")
    if any(each["problem"] for each in progress["done"]):
        raise typer.Exit(1)


def line(restored: Mapping[str, Any]) -> str:
    """Say what became of one image."""
    if restored["problem"]:
        return f"{restored['name']}: not brought back: {restored['problem']}"
    return f"{restored['name']}: {restored['size'] / 1e6:.0f} MB"
