"""``binderlet report``: one page about a time of service."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from binderlet.cli.options import ConfigFile, SetKeys, read_settings
from binderlet.cli.stats import Begins, Ends, StoreFile, days_of, open_store

if TYPE_CHECKING:
    from binderlet.config import Settings
    from binderlet.dashboard.evaluation import Evaluation
    from binderlet.dashboard.store import StatisticsStore
    from binderlet.dashboard.views import Range


def report(
    *,
    begins: Begins = "",
    ends: Ends = "",
    member: Annotated[
        str, typer.Option("--member", help="Whose report. Default: archive.origin, or the only one there is.")
    ] = "",
    cost: Annotated[float | None, typer.Option("--cost", min=0, help="What a month costs.")] = None,
    currency: Annotated[str, typer.Option("--currency", help="Its currency.")] = "EUR",
    out: Annotated[Path, typer.Option("--out", help="File to write, without its ending.")] = Path("report"),
    pictures: Annotated[bool, typer.Option(help="Draw the charts; needs 'pip install binderlet[plots]'.")] = True,
    store: StoreFile = None,
    config: ConfigFile = None,
    keys: SetKeys = None,
) -> None:
    """Write one page, as HTML and Markdown: launches, share, uptime, speed, cost, effort, and what would have been.

    Run it where the service runs: its uptime, its sessions and 'binderlet note' are in the state folder.
    """
    from binderlet.dashboard.draw import draw
    from binderlet.dashboard.report import to_html, to_markdown
    from binderlet.dashboard.views import make_charts

    settings = read_settings(config, keys).settings
    statistics = open_store(settings, store)
    shown = days_of(statistics, begins, ends)
    told = gather(statistics, settings, shown, member, (cost, currency))
    charts = make_charts(statistics, shown, settings.statistics.least)
    drawn = {chart.id: draw(chart, "svg") for chart in charts} if pictures else {}
    files = {name: f"{out.name}-{name}.svg" for name in drawn}
    bodies = {
        out.with_name(f"{out.name}.html"): to_html(told, charts, drawn).encode(),
        out.with_name(f"{out.name}.md"): to_markdown(told, charts, files).encode(),
        **{out.with_name(files[name]): picture for name, picture in drawn.items()},
    }
    write(bodies)
    for path in bodies:
        typer.echo(path)


def gather(
    statistics: StatisticsStore, settings: Settings, shown: Range, member: str, cost: tuple[float | None, str]
) -> Evaluation:
    """Read all that is known of a time.

    Raises:
        BadRange: nothing is known of it, or it is not clear whose report is asked for.
    """
    from binderlet.dashboard.evaluation import evaluate, uptime_of
    from binderlet.dashboard.notes import read_notes
    from binderlet.dashboard.tallies import start_of

    begins, ends = start_of(shown.first), start_of(shown.last + 1)
    counts = statistics.days(shown.first, shown.last)
    members = sorted({count.member for count in counts})
    chosen = choose(member or settings.archive.origin, members, shown)
    others = [one for one in members if one != chosen]
    hours = statistics.hours(shown.first, shown.last), statistics.hours(shown.first, shown.last, others)
    return evaluate(
        shown.first,
        shown.last,
        chosen,
        counts,
        statistics.own(shown.first, shown.last),
        uptime=uptime_of(statistics.beats(begins, ends), begins, min(ends, now())),
        hours=hours,
        notes=read_notes(settings.paths.state / "notes.jsonl", begins, ends),
        month=cost[0],
        currency=cost[1],
    )


def choose(asked: str, members: list[str], shown: Range) -> str:
    """Give whose report it is."""
    from binderlet.errors import BadRange

    if asked:
        return asked
    if len(members) == 1:
        return members[0]
    if not members:
        hint = "'binderlet stats import' takes in archives; the running service counts its own launches."
        raise BadRange(f"Nothing is known of launches from {shown}.", hint=hint)
    raise BadRange("Whose report?", hint=f"Give --member, one of: {', '.join(members)}.")


def now() -> float:
    """Give the time; what is to come is no outage."""
    import time

    return time.time()


def write(bodies: dict[Path, bytes]) -> None:
    """Write files.

    Raises:
        StoreUnavailable: one cannot be written.
    """
    from binderlet.errors import StoreUnavailable

    for path, body in bodies.items():
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(body)
        except OSError as error:
            raise StoreUnavailable(f"{path} cannot be written: {error}.") from error
