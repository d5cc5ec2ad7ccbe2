"""``binderlet stats``: archives of launches, counted and drawn."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from binderlet.cli.options import AsJson, ConfigFile, SetKeys, read_settings

if TYPE_CHECKING:
    from binderlet.config import Settings
    from binderlet.dashboard.charts import Chart
    from binderlet.dashboard.importing import Progress
    from binderlet.dashboard.store import StatisticsStore
    from binderlet.dashboard.views import Range

app = typer.Typer(
    help="Count launches: import archives, show and draw who served what.", no_args_is_help=True, rich_markup_mode=None
)
DEFAULT_MEMBER = "mybinder.org"

StoreFile = Annotated[
    Path | None,
    typer.Option("--store", help="File of the statistics. Default: statistics.sqlite in the state folder."),
]
Begins = Annotated[str, typer.Option("--from", metavar="DAY", help="First day, such as 2027-01-31.")]
Ends = Annotated[str, typer.Option("--to", metavar="DAY", help="Last day. Default: the last one known.")]


def open_store(settings: Settings, path: Path | None = None) -> StatisticsStore:
    """Give the statistics in a file, or those of the service of these settings."""
    from binderlet.dashboard.store import StatisticsStore

    return StatisticsStore(path or settings.paths.state / "statistics.sqlite")


def days_of(store: StatisticsStore, begins: str, ends: str) -> Range:
    """Read the range that was asked for.

    Raises:
        BadRange: it is none.
    """
    from datetime import UTC, datetime

    from binderlet.dashboard.views import read_range

    return read_range(begins, ends, store.extent(), datetime.now(UTC).toordinal())


@app.command("import")
def import_(
    sources: Annotated[
        list[str], typer.Argument(help="Folders with files events-YYYY-MM-DD.jsonl, or URLs of archives.")
    ],
    *,
    member: Annotated[
        str, typer.Option("--member", help="Member of a federation whose launches those are that name none.")
    ] = DEFAULT_MEMBER,
    workers: Annotated[int, typer.Option("--workers", min=0, help="Processes that count. Default: one a core.")] = 0,
    store: StoreFile = None,
    as_json: AsJson = False,
    config: ConfigFile = None,
    keys: SetKeys = None,
) -> None:
    """Take in what is new in archives, such as https://archive.analytics.mybinder.org/."""
    import asyncio
    import json
    from dataclasses import asdict

    from binderlet.dashboard.importing import import_archive

    statistics = open_store(read_settings(config, keys).settings, store)
    for source in sources:
        done = asyncio.run(import_archive(source, statistics, tell=tell, member=member, workers=workers))
        typer.echo(json.dumps({"source": source, **asdict(done)}) if as_json else f"{source}: {describe(done)}")


def tell(progress: Progress) -> None:
    """Say how far an import is: every hundredth file, as lines are kept where no terminal is."""
    if progress.files % 100 == 0 and progress.files != progress.unchanged:
        typer.echo(f"{progress.files} of {progress.of} files, {progress.events} launches", err=True)


def describe(done: Progress) -> str:
    """Say what an import did."""
    rate = f" ({done.events / done.seconds:,.0f} a second)" if done.events and done.seconds else ""
    lines = f"{done.files - done.unchanged} files with {done.events:,} launches{rate}"
    skipped = f", {done.skipped} lines were no launches" if done.skipped else ""
    return f"{lines}, {done.unchanged} had not changed{skipped}"


@app.command()
def show(
    *,
    begins: Begins = "",
    ends: Ends = "",
    store: StoreFile = None,
    as_json: AsJson = False,
    config: ConfigFile = None,
    keys: SetKeys = None,
) -> None:
    """Print the launches of each member, and the repositories launched most."""
    from binderlet.dashboard.charts import to_json
    from binderlet.dashboard.views import make_charts

    settings = read_settings(config, keys).settings
    statistics = open_store(settings, store)
    shown = days_of(statistics, begins, ends)
    charts = make_charts(statistics, shown, settings.statistics.least)
    if as_json:
        typer.echo(to_json(charts))
        return
    typer.echo(f"{shown}\n")
    for chart in charts:
        if chart.id in {"launches", "outcomes"}:
            typer.echo("\n".join(totals(chart)) + "\n")
        elif chart.id == "repositories":
            typer.echo("\n".join(f"{count:>10}  {name}" for name, count in chart.rows()) + "\n")
    if not charts:
        typer.echo("Nothing is known of these days. 'binderlet stats import' takes in archives.", err=True)


def totals(chart: Chart) -> list[str]:
    """Give the sum of each series, with its share."""
    sums = [(series.name, sum(value or 0 for value in series.values)) for series in chart.series]
    total = sum(count for _, count in sums) or 1
    lines = [chart.title, *(f"{count:>10,.0f}  {100 * count / total:5.1f} %  {name}" for name, count in sums)]
    return lines + [
        f"            {chart.position(chart.positions.index(mark.at))}: {mark.text}" for mark in chart.marks
    ]


@app.command()
def save(
    folder: Annotated[Path, typer.Argument(help="Folder for the files.")],
    *,
    begins: Begins = "",
    ends: Ends = "",
    kinds: Annotated[list[str] | None, typer.Option("--format", help="svg, png, csv or json. May be repeated.")] = None,
    store: StoreFile = None,
    config: ConfigFile = None,
    keys: SetKeys = None,
) -> None:
    """Write every chart into files: pictures need 'pip install binderlet[plots]', tables do not."""
    from binderlet.dashboard.views import make_charts

    settings = read_settings(config, keys).settings
    statistics = open_store(settings, store)
    charts = make_charts(statistics, days_of(statistics, begins, ends), settings.statistics.least)
    for path in write_charts(charts, folder, kinds or ["svg", "csv"]):
        typer.echo(path)


def write_charts(charts: list[Chart], folder: Path, kinds: list[str]) -> list[Path]:
    """Write charts into a folder, one file for each and form, and give their names.

    Raises:
        MissingProgram: matplotlib, which draws, is not installed.
        StoreUnavailable: a file cannot be written.
    """
    from binderlet.dashboard.charts import to_csv, to_json
    from binderlet.dashboard.draw import draw
    from binderlet.errors import StoreUnavailable

    for kind in kinds:
        if kind not in {"svg", "png", "csv", "json"}:
            raise typer.BadParameter(f"{kind!r} is none of svg, png, csv, json", param_hint="--format")
    written = []
    for chart in charts:
        for kind in kinds:
            path = folder / f"{chart.id}.{kind}"
            if kind == "csv":
                body = to_csv(chart).encode()
            else:
                body = to_json([chart]).encode() if kind == "json" else draw(chart, kind)
            try:
                folder.mkdir(parents=True, exist_ok=True)
                path.write_bytes(body)
            except OSError as error:
                raise StoreUnavailable(f"{path} cannot be written: {error}.") from error
            written.append(path)
    return written


@app.command()
def sources(
    *,
    forget: Annotated[str, typer.Option("--forget", metavar="SOURCE", help="Forget what a source gave.")] = "",
    store: StoreFile = None,
    config: ConfigFile = None,
    keys: SetKeys = None,
) -> None:
    """List the archives that were imported."""
    from binderlet.errors import ArchiveUnavailable

    statistics = open_store(read_settings(config, keys).settings, store)
    if forget:
        files = statistics.forget(forget)
        if not files:
            raise ArchiveUnavailable(f"Nothing was imported from {forget!r}.", hint="'binderlet stats sources' lists.")
        typer.echo(f"{files} files of {forget} are forgotten.")
        return
    for name, files, events, skipped in statistics.sources():
        typer.echo(
            f"{events:>12,} launches in {files:>5} files  {name}" + (f"  ({skipped} skipped)" if skipped else "")
        )


@app.command()
def publish(*, config: ConfigFile = None, keys: SetKeys = None) -> None:
    """Make the public archive of this service's launches now; the service does it by itself every archive.every."""
    import asyncio
    import os

    from binderlet.app.statistics import PUBLIC, targets_of
    from binderlet.config.network import network_environment, read_text
    from binderlet.events.archive_publish import Publisher

    settings = read_settings(config, keys).settings
    state = settings.paths.state
    ca_bundle = network_environment(settings.network, os.environ, read_text).ca_bundle
    publisher = Publisher(state / "archive", state / PUBLIC, targets_of(settings, ca_bundle))
    asyncio.run(publisher.publish())
    typer.echo(f"{publisher.freshness.events} launches are public in {publisher.public}")


@app.command()
def fresh(
    source: Annotated[str, typer.Argument(help="Folder or URL of an archive.")],
    *,
    member: Annotated[list[str] | None, typer.Option("--member", help="Member that must have launches in it.")] = None,
    days: Annotated[int, typer.Option("--days", min=1, help="How old its last launches may be.")] = 2,
) -> None:
    """Check that an archive is up to date, and that members' launches are in it; the exit code is 1 if not."""
    import asyncio
    import tempfile
    from datetime import UTC, datetime

    from binderlet.dashboard.freshness import look_at
    from binderlet.dashboard.store import StatisticsStore

    with tempfile.TemporaryDirectory() as folder:
        counted = StatisticsStore(Path(folder) / "statistics.sqlite")
        seen = asyncio.run(look_at(source, counted, days=days, today=datetime.now(UTC).toordinal()))
    typer.echo(f"last day: {seen.last or 'none'}, launches of the last {days} days: {sum(seen.members.values())}")
    problems = seen.problems(member or [])
    for problem in problems:
        typer.echo(f"FAIL {problem}")
    if problems:
        raise typer.Exit(1)


@app.command()
def example(
    folder: Annotated[Path, typer.Argument(help="Folder for the archive.")],
    *,
    days: Annotated[int, typer.Option("--days", min=1, help="How many days.")] = 365,
    per_day: Annotated[float, typer.Option("--per-day", min=0, help="Launches on an average day.")] = 3000,
    begins: Begins = "2026-01-01",
    seed: Annotated[int, typer.Option("--seed", help="Another number makes another archive.")] = 1,
) -> None:
    """Make up an archive of a federation that does not exist, to try things out; nothing in it was measured."""
    from datetime import date

    from binderlet.dashboard.example import write_example
    from binderlet.errors import BadRange

    try:
        first = date.fromisoformat(begins)
    except ValueError as error:
        raise BadRange(f"{begins!r} is not a day: {error}.") from error
    typer.echo(f"{write_example(folder, first, days, per_day, seed=seed):,} made-up launches are in {folder}")
