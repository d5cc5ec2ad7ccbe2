"""``binderlet federation``: several Binders under one name."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from binderlet.cli.options import AsJson, ConfigFile, SetKeys, read_settings

if TYPE_CHECKING:
    from binderlet.federation.run import Running

app = typer.Typer(
    name="federation",
    help="Run a federation of Binders, or take part in one.",
    no_args_is_help=True,
)

File = Annotated[
    Path,
    typer.Option("--file", "-f", help="The federation's TOML file, or mybinder.org's config.json.", show_default=False),
]


InFile = Annotated[Path | None, typer.Option("--file", "-f", help="The federation's file, to change a member there.")]


@app.command("serve", short_help="Run a redirector: one name for several Binders.")
def serve(
    file: File,
    *,
    host: Annotated[str, typer.Option("--host", help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="Port to listen on.")] = 8080,
    state: Annotated[
        Path | None, typer.Option("--state", help="File that keeps the counts of monthly budgets.", show_default=False)
    ] = None,
) -> None:
    """Send launches to members by weight and health, and everything else to a prime, until Ctrl-C.

    The file is read again when it changes, or at SIGHUP; a file that is wrong changes nothing. Run two or more of
    these with the same file: they choose alike.
    """
    import asyncio

    import uvloop

    from binderlet.config.schema import LogSettings
    from binderlet.federation.run import Place
    from binderlet.federation.run import serve as run
    from binderlet.logs import configure_logs

    configure_logs(LogSettings())
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(run(file, Place(host, port, state), announce))


def announce(now: Running) -> None:
    """Say who may get launches."""
    hosts = ", ".join(now.redirector.active_hosts())
    typer.echo(f"The redirector listens on port {now.port}; launches go to {hosts}. Ctrl-C ends it.", err=True)


@app.command("check", short_help="Read the federation's file, ask every member, and show who gets what.")
def check(
    file: File,
    *,
    offline: Annotated[bool, typer.Option("--offline", help="Only read the file.")] = False,
    as_json: AsJson = False,
) -> None:
    """Read the file and ask every member as a redirector would; the exit code is 1 where one may get nothing."""
    import asyncio
    import json

    from binderlet.federation.config import read
    from binderlet.federation.look import look_once
    from binderlet.federation.routes import overview

    federation = read(file)
    if offline:
        typer.echo(f"{file}: {len(federation.members)} members, pages from {', '.join(federation.primes)}.")
        return
    found = overview(asyncio.run(look_once(federation)))
    if as_json:
        typer.echo(json.dumps(found, indent=2))
    else:
        from binderlet.federation.look import describe

        typer.echo("\n".join(map(describe, found["members"])))
    if any(row["effective_weight"] == 0 for row in found["members"]):
        raise typer.Exit(1)


@app.command("join", short_help="Check what a member needs, say what is missing, and print its entry.")
def join(
    federation: Annotated[
        str, typer.Argument(help="The federation, such as https://mybinder.org.", show_default=False)
    ],
    *,
    url: Annotated[
        str, typer.Option("--url", help="The member to look at. Default: this machine's server.public_url.")
    ] = "",
    name: Annotated[str, typer.Option("--name", help="Its name in the federation's file. Default: by its host.")] = "",
    weight: Annotated[float, typer.Option("--weight", min=0, help="Weight to begin with.")] = 10,
    archive: Annotated[
        str, typer.Option("--archive", metavar="URL", help="Where its archive is published. Default: its /archive/.")
    ] = "",
    as_json: AsJson = False,
    config: ConfigFile = None,
    keys: SetKeys = None,
) -> None:
    """Look at a member from outside, and with --url left out from inside too, and say how to mend what is missing.

    The exit code is 1 when something fails. What is printed at the end belongs into the federation's file.
    """
    import asyncio
    import json

    from binderlet.cli.federation_join import gather
    from binderlet.federation.join import entry, evaluate

    settings = None if url else read_settings(config, keys).settings
    seen = asyncio.run(gather(federation, url, name, archive, settings))
    findings = evaluate(seen)
    failed = any(finding.level == "fail" for finding in findings)
    if as_json:
        made = json.loads(entry(seen, weight, as_json=True))
        typer.echo(json.dumps({"findings": [one.as_dict() for one in findings], "entry": made}, indent=2))
    else:
        from binderlet.cli.federation_join import print_findings

        print_findings(findings, seen, weight)
    if failed:
        raise typer.Exit(1)


@app.command("drain", short_help="Send no new launches here, or to a member of the federation's file.")
def drain(
    member: Annotated[str, typer.Argument(help="A member of --file. Without: this machine's running service.")] = "",
    *,
    off: Annotated[bool, typer.Option("--off", help="Take launches again.")] = False,
    file: InFile = None,
    config: ConfigFile = None,
    keys: SetKeys = None,
) -> None:
    """Ask redirectors for no new launches; sessions that run go on.

    On a member its /health says so, which today's redirector of mybinder.org understands too. With --file the
    federation's file is changed, which every redirector reads by itself.
    """
    from binderlet.cli.federation_file import change_file, drain_values, wish

    if file is not None:
        change_file(file, member, drain_values(file, member, off=off))
    else:
        wish(read_settings(config, keys).settings, f"draining={'false' if off else 'true'}")


@app.command("ramp", short_help="Take a part of the launches, or let a member's weight grow by the calendar.")
def ramp(
    share: Annotated[
        float, typer.Argument(min=0, max=1, help="Part of the weight that is wanted now: 0.1, then 1.")
    ] = 1.0,
    *,
    member: Annotated[str, typer.Option("--member", help="A member of --file.")] = "",
    weight: Annotated[float | None, typer.Option("--weight", min=0, help="Its weight in the end.")] = None,
    start: Annotated[str, typer.Option("--start", metavar="DAY", help="First day, such as 2026-03-01.")] = "",
    days: Annotated[float, typer.Option("--days", min=0.01, help="Days until the whole weight is reached.")] = 7.0,
    file: InFile = None,
    config: ConfigFile = None,
    keys: SetKeys = None,
) -> None:
    """Grow slowly: /health says which part of its weight a member wants; in --file the calendar does."""
    from binderlet.cli.federation_file import change_file, ramp_values, wish

    if file is not None:
        change_file(file, member, ramp_values(file, share, weight, start, days))
    else:
        wish(read_settings(config, keys).settings, f"share={share}")


@app.command("simulate", short_help="Run the redirector's choosing over a simulated year, with failures and crowds.")
def simulate(
    *,
    file: InFile = None,
    members: Annotated[int, typer.Option("--members", min=1, help="Made-up members, without --file.")] = 3,
    launches: Annotated[float, typer.Option("--launches", min=1, help="Launches a day.")] = 25_000,
    days: Annotated[float, typer.Option("--days", min=0.01, help="How long.")] = 365,
    room: Annotated[
        float,
        typer.Option("--room", min=0.01, help="Places of all, as a multiple of the busiest usual hour's sessions."),
    ] = 1.3,
    session: Annotated[float, typer.Option("--session", min=1, help="Mean seconds of a session.")] = 1500,
    failures: Annotated[float, typer.Option("--failures", min=0, help="Failures of each member a month.")] = 0.5,
    repair: Annotated[
        float, typer.Option("--repair", min=1, help="Mean seconds until a failed member is back.")
    ] = 3600,
    crowds: Annotated[float, typer.Option("--crowds", min=0, help="Flash crowds a month.")] = 4,
    repositories: Annotated[int, typer.Option("--repositories", min=1, help="Different repositories.")] = 10_000,
    step: Annotated[float, typer.Option("--step", min=0, help="Seconds of one step. 0: by the load, 5 to 60.")] = 0,
    seed: Annotated[int, typer.Option("--seed", help="The same seed gives the same year.")] = 1,
    as_json: AsJson = False,
) -> None:
    """Say what would be lost, refused, moved and waited for in a year of traffic as a public archive shows it.

    It needs numpy: pip install 'binderlet[simulate]'.
    """
    import json
    import sys

    from binderlet.federation.config import read
    from binderlet.federation.simulate import Simulation, World, describe, made_up, places_for, step_for
    from binderlet.federation.traffic import Load

    federation = read(file) if file is not None else made_up(members, seed)
    load = Load(launches, repositories, crowds)
    places = places_for(federation, load, session, room)
    step = step or step_for(load, places)
    world = World(places, session, 200, failures, repair, step=step, days=days, seed=seed)

    def progress(part: float) -> None:
        """Draw it on a terminal."""
        if sys.stderr.isatty():
            sys.stderr.write(f"\r{part:4.0%}" if part < 1 else "\r")

    result = Simulation(federation, load, world).run(progress)
    typer.echo(json.dumps(result.as_dict(), indent=2) if as_json else "\n".join(describe(result)))
