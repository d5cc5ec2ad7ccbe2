"""``binderlet note``: what operators did, for the report."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from binderlet.cli.options import AsJson, ConfigFile, SetKeys, read_settings

if TYPE_CHECKING:
    from binderlet.dashboard.notes import Note


def note(
    text: Annotated[str, typer.Argument(help="What was done, or what went wrong.", show_default=False)] = "",
    *,
    minutes: Annotated[float, typer.Option("--minutes", min=0, help="Time that somebody spent on it.")] = 0,
    incident: Annotated[bool, typer.Option("--incident", help="Something went wrong for visitors.")] = False,
    at: Annotated[str, typer.Option("--at", help="When, such as 2027-01-31T14:00. Default: now.")] = "",
    listing: Annotated[bool, typer.Option("--list", help="List the notes.")] = False,
    as_json: AsJson = False,
    config: ConfigFile = None,
    keys: SetKeys = None,
) -> None:
    """Log an intervention or an incident, so that 'binderlet report' can tell the effort of running this service."""
    import json
    from dataclasses import asdict
    from datetime import datetime

    from binderlet.dashboard.notes import Note, add_note, read_notes
    from binderlet.errors import BadRange

    path = read_settings(config, keys).settings.paths.state / "notes.jsonl"
    if listing:
        notes = read_notes(path, 0, float("inf"))
        if as_json:
            typer.echo(json.dumps([asdict(one) for one in notes], indent=2))
        else:
            for one in notes:
                typer.echo(line_of(one))
        return
    if not text:
        raise typer.BadParameter("say what was done, or --list")
    try:
        moment = (datetime.fromisoformat(at) if at else datetime.now()).astimezone()  # noqa: DTZ005 - made aware
    except ValueError as error:
        raise BadRange(f"{at!r} is not a time: {error}.", hint="Write 2027-01-31T14:00.") from error
    made = Note(moment.timestamp(), "incident" if incident else "work", minutes, text)
    add_note(path, made)
    typer.echo(json.dumps(asdict(made)) if as_json else line_of(made))


def line_of(note: Note) -> str:
    """Say a note in one line."""
    from datetime import UTC, datetime

    when = datetime.fromtimestamp(note.at, UTC).astimezone().strftime("%Y-%m-%d %H:%M")
    spent = f", {note.minutes:g} minutes" if note.minutes else ""
    return f"{when}  {note.kind}{spent}: {note.text}"
