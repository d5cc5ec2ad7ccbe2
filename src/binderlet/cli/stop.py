"""``binderlet stop``: ends sessions."""

from __future__ import annotations

from typing import Annotated

import typer

from binderlet.cli.options import ConfigFile, SetKeys, read_settings


def stop(
    ids: Annotated[list[str], typer.Argument(metavar="ID...", help="Sessions, as 'binderlet sessions' lists them.")],
    *,
    config: ConfigFile = None,
    keys: SetKeys = None,
) -> None:
    """End sessions; what their visitors did not save is lost."""
    from urllib.parse import quote

    from binderlet.cli.ask import ask

    settings = read_settings(config, keys).settings
    for session_id in ids:
        ask(settings, "DELETE", f"/sessions/{quote(session_id, safe='')}")
        typer.echo(f"Stopped {session_id}.")
