"""``binderlet doctor``: checks this machine, and says the mend."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated

import typer

from binderlet.cli.options import AsJson, ConfigFile, SetKeys, read_settings

if TYPE_CHECKING:
    from binderlet.finding import Finding

MARKS = {"ok": " ok ", "warn": "WARN", "fail": "FAIL"}
COLOURS = {"ok": "green", "warn": "yellow", "fail": "red"}


def doctor(
    *,
    network: Annotated[
        bool, typer.Option("--network", help="Also look up names and reach what builds need, which takes longer.")
    ] = False,
    as_json: AsJson = False,
    config: ConfigFile = None,
    keys: SetKeys = None,
) -> None:
    """Check engine, HAProxy, git, disk, memory, limits and ports, and say how to mend what is wrong.

    The service need not run. The exit code is 1 when something fails.
    """
    from binderlet.deploy.doctor import evaluate
    from binderlet.deploy.doctor_probes import gather

    findings = evaluate(gather(read_settings(config, keys).settings, network=network))
    if as_json:
        typer.echo(json.dumps([finding.as_dict() for finding in findings], indent=2))
    else:
        for finding in findings:
            print_finding(finding)
    if any(finding.level == "fail" for finding in findings):
        raise typer.Exit(1)


def print_finding(finding: Finding) -> None:
    """Print what was seen, and below it what to do."""
    typer.secho(MARKS[finding.level], fg=COLOURS[finding.level], nl=False)
    typer.echo(f" {finding.check}: {finding.seen}")
    if finding.mend:
        typer.echo(f"       mend: {finding.mend}")
