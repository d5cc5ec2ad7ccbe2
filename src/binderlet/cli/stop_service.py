"""``binderlet stop-service``: ends the running service."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated

import typer

from binderlet.cli.options import ConfigFile, SetKeys, read_settings
from binderlet.errors import ServiceUnavailable

if TYPE_CHECKING:
    from binderlet.config.schema import Settings

LOOK_EVERY = 0.1


def stop_service(
    *,
    wait: Annotated[
        float, typer.Option("--wait", help="Seconds to wait until it has ended; 0 returns at once.")
    ] = 60.0,
    config: ConfigFile = None,
    keys: SetKeys = None,
) -> None:
    """End the running service."""
    from binderlet.cli.ask import ask

    settings = read_settings(config, keys).settings
    ask(settings, "POST", "/shutdown")
    if wait:
        wait_until_ended(settings, wait)
        typer.echo("The service has ended.")


def wait_until_ended(settings: Settings, seconds: float) -> None:
    """Return once the service's socket does not answer any more.

    Raises:
        ServiceUnavailable: it still answers after that long.
    """
    from binderlet.cli.ask import ask

    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            ask(settings, "GET", "/status")
        except ServiceUnavailable:
            return
        time.sleep(LOOK_EVERY)
    raise ServiceUnavailable(f"The service still runs after {seconds:g} seconds.", hint="Look at its log.")
