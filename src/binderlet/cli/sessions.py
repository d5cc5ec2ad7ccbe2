"""``binderlet sessions``: who runs."""

from __future__ import annotations

from typing import Any

import typer

from binderlet.cli.options import AsJson, ConfigFile, SetKeys, read_settings


def sessions(*, as_json: AsJson = False, config: ConfigFile = None, keys: SetKeys = None) -> None:
    """List the sessions that run or start."""
    import json
    import time

    from binderlet.cli.ask import ask

    found = ask(read_settings(config, keys).settings, "GET", "/sessions")
    if as_json:
        typer.echo(json.dumps(found, indent=2))
    elif not found:
        typer.echo("No sessions run.")
    else:
        print_table(found, time.time())


def print_table(sessions: list[dict[str, Any]], now: float) -> None:
    """Print one row for each session, oldest first; rows are never cut where the output is no terminal."""
    import sys

    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    for title in ("ID", "STATE", "AGE", "IDLE", "REPOSITORY"):
        table.add_column(title, no_wrap=True, overflow="ignore" if not sys.stdout.isatty() else "ellipsis")
    for session in sorted(sessions, key=lambda session: session["created_at"]):
        row = (session["id"], session["state"], ago(now - session["created_at"]), ago(session["idle_seconds"]))
        table.add_row(*row, session["repo_url"], style=None)
    Console(width=None if sys.stdout.isatty() else WIDE, soft_wrap=not sys.stdout.isatty(), markup=False).print(table)


WIDE = 1000
"""Columns where no terminal limits them."""
MINUTE, HOUR, DAY = 60, 3600, 86400


def ago(seconds: float) -> str:
    """Write a span for people: 12s, 5m, 3h20m, 2d."""
    whole = max(0, int(seconds))
    if whole < MINUTE:
        return f"{whole}s"
    if whole < HOUR:
        return f"{whole // MINUTE}m"
    if whole < DAY:
        return f"{whole // HOUR}h{whole % HOUR // MINUTE:02d}m"
    return f"{whole // DAY}d"
