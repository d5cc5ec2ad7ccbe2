"""``binderlet extend``: lets sessions stay longer."""

from __future__ import annotations

from typing import Annotated

import typer

from binderlet.cli.options import ConfigFile, SetKeys, read_settings


def extend(
    ids: Annotated[list[str], typer.Argument(metavar="ID...", help="Sessions, as 'binderlet sessions' lists them.")],
    *,
    by: Annotated[str, typer.Option(metavar="TIME", help="How long from now on, such as 90m or 2h.")] = "1h",
    config: ConfigFile = None,
    keys: SetKeys = None,
) -> None:
    """Let sessions stay for a time from now on, used or not; afterwards the ordinary rules count again."""
    import time
    from urllib.parse import quote

    from binderlet.cli.ask import ask

    seconds = seconds_of(by)
    settings = read_settings(config, keys).settings
    for session_id in ids:
        answer = ask(settings, "POST", f"/sessions/{quote(session_id, safe='')}/extend?seconds={seconds:g}")
        typer.echo(f"{session_id} stays until {time.strftime('%H:%M:%S on %d %B', time.localtime(answer['until']))}.")


def seconds_of(text: str) -> float:
    """Read a duration, or say that it is none."""
    from binderlet.config.units import parse_duration

    try:
        seconds = parse_duration(text)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--by") from error
    if not isinstance(seconds, float) or seconds <= 0:
        raise typer.BadParameter("it must be longer than nothing", param_hint="--by")
    return seconds
