"""``binderlet reserve``: sessions that are ready before an event begins."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from binderlet.cli.launch import Provider, Ref, address_of
from binderlet.cli.options import AsJson, ConfigFile, SetKeys, read_settings

if TYPE_CHECKING:
    from binderlet.model import RepoSpec

FORMATS = ["%Y-%m-%dT%H:%M", "%Y-%m-%d %H:%M", "%Y-%m-%dT%H:%M:%S%z", "%H:%M"]


def reserve(
    url: Annotated[str, typer.Argument(help="The repository, as for 'binderlet launch'.", show_default=False)] = "",
    *,
    count: Annotated[int, typer.Option("--count", min=1, help="How many people will come.")] = 20,
    begins: Annotated[
        datetime | None,
        typer.Option("--from", formats=FORMATS, help="When it begins, in this machine's time. Default: now."),
    ] = None,
    ends: Annotated[
        datetime | None, typer.Option("--to", formats=FORMATS, help="When the last ones will have come.")
    ] = None,
    ref: Ref = "",
    provider: Provider = "",
    listing: Annotated[bool, typer.Option("--list", help="List the reservations that have not ended.")] = False,
    cancel: Annotated[str, typer.Option("--cancel", metavar="ID", help="Drop a reservation.")] = "",
    as_json: AsJson = False,
    config: ConfigFile = None,
    keys: SetKeys = None,
) -> None:
    """Keep sessions of a repository ready for an event, such as a workshop."""
    from urllib.parse import quote

    from binderlet.cli.ask import ask

    settings = read_settings(config, keys).settings
    if listing:
        print_result(ask(settings, "GET", "/reservations"), as_json=as_json)
    elif cancel:
        ask(settings, "DELETE", f"/reservations/{quote(cancel, safe='')}")
        typer.echo(f"Reservation {cancel} is dropped.")
    elif not url or ends is None:
        raise typer.BadParameter("give a repository and --to, or --list, or --cancel ID")
    else:
        now = datetime.now().astimezone()
        spec = address_of(url, settings, ref=ref, provider=provider).spec
        query = query_of(spec, count, moment(begins, now), moment(ends, now))
        print_result([ask(settings, "POST", f"/reservations?{query}")], as_json=as_json)


def query_of(spec: RepoSpec, count: int, begins: float, ends: float) -> str:
    """Give the query that makes a reservation."""
    from urllib.parse import urlencode

    return urlencode({"provider": spec.provider, "spec": spec.spec, "count": count, "from": begins, "to": ends})


def moment(given: datetime | None, now: datetime) -> float:
    """Give a time as seconds since the epoch; a time of day alone is today's."""
    if given is None:
        return now.timestamp()
    if given.year == 1900:  # noqa: PLR2004 - what strptime gives where there is no date
        given = given.replace(year=now.year, month=now.month, day=now.day)
    return given.timestamp()


def print_result(reservations: list[dict[str, Any]], *, as_json: bool) -> None:
    """Print reservations, one a line."""
    import json

    if as_json:
        typer.echo(json.dumps(reservations, indent=2))
    else:
        typer.echo("\n".join(map(describe, reservations)) or "Nothing is reserved.")


def describe(reservation: dict[str, Any]) -> str:
    """Say it in a line."""
    begins, ends = (datetime.fromtimestamp(reservation[key]).astimezone() for key in ("from", "to"))
    text = (
        f"{reservation['id']}: {reservation['count']} of {reservation['provider']}/{reservation['spec']}, "
        f"{begins:%Y-%m-%d %H:%M} to {ends:%Y-%m-%d %H:%M}, "
        f"{reservation['ready']} ready, {reservation['launched']} launched"
    )
    return f"{text}; problem: {reservation['problem']}" if reservation["problem"] else text
