"""``binderlet config``: what the settings are, whether they are right, and what they mean."""

from __future__ import annotations

from typing import Annotated

import typer

from binderlet.cli.options import AsJson, ConfigFile, SetKeys, read_settings

app = typer.Typer(help="Show, check and explain the settings.", no_args_is_help=True, rich_markup_mode=None)


@app.command()
def show(
    *,
    changed: Annotated[bool, typer.Option("--changed", help="Only what is not a default.")] = False,
    as_json: AsJson = False,
    config: ConfigFile = None,
    keys: SetKeys = None,
) -> None:
    """Print every setting, its value, and where that came from; secrets are masked."""
    import json

    from binderlet.config.load import DEFAULT
    from binderlet.config.reference import toml_value

    rows = [row for row in read_settings(config, keys).rows() if not changed or row.origin != DEFAULT]
    if as_json:
        typer.echo(json.dumps({row.key: {"value": row.value, "origin": row.origin} for row in rows}, indent=2))
        return
    for row in rows:
        typer.echo(f"{row.key} = {toml_value(row.value)}  # {row.origin}")


@app.command()
def check(*, config: ConfigFile = None, keys: SetKeys = None) -> None:
    """Say whether the settings are right, without starting anything; all that is wrong is told at once."""
    import os

    from binderlet.config.network import network_environment, read_text

    loaded = read_settings(config, keys)
    network_environment(loaded.settings.network, os.environ, read_text)
    typer.echo(f"The settings are right ({loaded.file or 'no file; defaults'}, {len(loaded.origins)} values set).")


@app.command()
def docs(
    *, example: Annotated[bool, typer.Option("--example", help="Print it as a commented TOML file.")] = False
) -> None:
    """Print the documentation of every setting."""
    from binderlet.config.reference import render_example, render_reference

    typer.echo(render_example() if example else render_reference(), nl=False)
