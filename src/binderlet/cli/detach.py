"""Runs the service in a process of its own, and returns once it answers."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import typer

from binderlet.cli.address import Address
from binderlet.cli.ask import ask
from binderlet.cli.launch import request
from binderlet.cli.progress import Display, display
from binderlet.config.schema import Settings
from binderlet.errors import AlreadyRunning, ServiceUnavailable

COMMAND = (sys.executable, "-m", "binderlet.cli")
LOOK_EVERY = 0.1
STEP = "==> "


def serve_detached(
    settings: Settings, wanted: Address | None, arguments: Sequence[str], command: Sequence[str] = COMMAND
) -> subprocess.Popen[bytes]:
    """Start the service in the background, wait until it answers, and launch what was asked for.

    Gives the process, which goes on when this one ends.

    Raises:
        AlreadyRunning: one with these settings runs already.
        ServiceUnavailable: it ended before it answered; the message has its last lines.
        BinderletError: the launch failed; the service goes on.
    """
    if answers(settings):
        raise AlreadyRunning("The service runs already.", hint="'binderlet stop-service' ends it.")
    log = settings.paths.state.absolute() / "service.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    if log.exists():
        log.replace(log.with_suffix(".log.old"))
    with log.open("wb") as output:
        process = subprocess.Popen(
            [*command, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    with display() as shown:
        wait_until_it_answers(settings, process, log, shown)
    typer.echo(f"The service runs as process {process.pid}; its log is {log}.", err=True)
    if wanted is not None:
        typer.echo(asyncio.run(request(settings, wanted, quiet=False, verbose=False)).link)
    return process


def answers(settings: Settings) -> bool:
    """Whether a service with these settings runs."""
    try:
        ask(settings, "GET", "/status")
    except ServiceUnavailable:
        return False
    return True


def wait_until_it_answers(settings: Settings, process: subprocess.Popen[bytes], log: Path, shown: Display) -> None:
    """Show the steps that the service writes to its log until it answers.

    Raises:
        ServiceUnavailable: it ended before.
    """
    with log.open(encoding="utf-8", errors="replace") as lines:
        while not answers(settings):
            for line in lines:
                if line.startswith(STEP):
                    shown.step(line.removeprefix(STEP).strip())
            if process.poll() is not None:
                raise ServiceUnavailable(
                    f"The service ended at once:\n{last_lines(log)}", hint=f"The whole log is {log}."
                )
            time.sleep(LOOK_EVERY)


def last_lines(log: Path, count: int = 10) -> str:
    """Give the end of the log."""
    return "\n".join(log.read_text(encoding="utf-8", errors="replace").splitlines()[-count:])
