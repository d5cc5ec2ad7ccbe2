"""``binderlet base``: the image that all environments build on."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from binderlet.cli.options import ConfigFile, SetKeys, read_settings

if TYPE_CHECKING:
    from pathlib import Path

    from binderlet.builder.base_image import BaseImages, KeptBase
    from binderlet.config.schema import Settings
    from binderlet.events.buildlog import BuildLog

app = typer.Typer(name="base", help="Make, list and remove images that environments build on.", no_args_is_help=True)


@app.command("build")
def build(
    *,
    python: Annotated[
        str, typer.Option("--python", metavar="X.Y", help="Only the base image for this Python, such as 3.12.")
    ] = "",
    config: ConfigFile = None,
    keys: SetKeys = None,
) -> None:
    """Make the base images anew, with Debian's packages of today; needs no running service.

    That is the first one, and each for another Python that is here. A service that runs builds on the new ones from
    its next build on. Sessions go on; images on an old one are built anew when they are next used.
    """
    import asyncio

    typer.echo(asyncio.run(_build(read_settings(config, keys).settings, python)))


@app.command("list")
def list_(*, config: ConfigFile = None, keys: SetKeys = None) -> None:
    """List the base images that are here, with Python, age and size."""
    import asyncio

    for base in asyncio.run(_kept(read_settings(config, keys).settings)):
        typer.echo(f"{'*' if base.is_current else ' '} {describe(base)}")


@app.command("prune")
def prune(
    *,
    python: Annotated[
        str, typer.Option("--python", metavar="X.Y", help="Remove the base image for this Python, too.")
    ] = "",
    config: ConfigFile = None,
    keys: SetKeys = None,
) -> None:
    """Remove the base images that these settings do not use; built images keep what they share with them."""
    import asyncio

    removed = asyncio.run(_prune(read_settings(config, keys).settings, python))
    for base in removed:
        typer.echo(f"Removed {describe(base)}")
    if not removed:
        typer.echo("There is nothing to remove.")


def describe(base: KeptBase) -> str:
    """Give an image in one line."""
    import time

    days = (time.time() - base.made_at) / 86400
    python = f", Python {base.python}" if base.python else ""
    return f"{base.name or base.id[:19]}{python}, {base.size / 1024**2:.0f} MB, {days:.1f} days old"


@asynccontextmanager
async def _bases(settings: Settings) -> AsyncIterator[BaseImages]:
    import asyncio
    import os

    from binderlet.builder.workbench import open_workbench
    from binderlet.config.network import network_environment, read_text

    network = await asyncio.to_thread(network_environment, settings.network, os.environ, read_text)
    async with open_workbench(settings, network, await _state(settings)) as bench:
        yield bench.bases


async def _state(settings: Settings) -> Path:
    import asyncio

    return await asyncio.to_thread(settings.paths.state.absolute) / "local"


async def _build(settings: Settings, python: str) -> str:
    import asyncio

    from binderlet.builder.base_recipe import own_python
    from binderlet.errors import BadSpec
    from binderlet.events.buildlog import BuildLog

    path = await _state(settings) / "base-log"
    await asyncio.to_thread(path.unlink, missing_ok=True)
    build_log = BuildLog(path)
    async with _bases(settings) as bases, asyncio.TaskGroup() as group:
        group.create_task(_show(build_log), name="log of the base image")
        try:
            if python and python not in (known := (own_python(settings.builder), *bases.others)):
                raise BadSpec(f"There is no base image for Python {python}.", hint=f"There can be: {', '.join(known)}.")
            return (await bases.renew(build_log, python)).name
        finally:
            build_log.finish()


async def _show(build_log: BuildLog) -> None:
    async for event in build_log.follow():
        typer.echo(event.message, nl=False, err=True)


async def _kept(settings: Settings) -> list[KeptBase]:
    async with _bases(settings) as bases:
        return await bases.kept()


async def _prune(settings: Settings, python: str) -> list[KeptBase]:
    async with _bases(settings) as bases:
        return await bases.prune(python)
