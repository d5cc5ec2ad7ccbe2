"""``binderlet base``: the image that all environments build on."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import typer

from binderlet.cli.options import ConfigFile, SetKeys, read_settings

if TYPE_CHECKING:
    from pathlib import Path

    from binderlet.builder.base_image import BaseImages, KeptBase
    from binderlet.config.schema import Settings
    from binderlet.events.buildlog import BuildLog

app = typer.Typer(name="base", help="Make, list and remove the image that environments build on.", no_args_is_help=True)


@app.command("build")
def build(*, config: ConfigFile = None, keys: SetKeys = None) -> None:
    """Make the base image anew, with Debian's packages of today; needs no running service.

    A service that runs builds on the new one from its next build on. Sessions and built images are left alone.
    """
    import asyncio

    typer.echo(asyncio.run(_build(read_settings(config, keys).settings)))


@app.command("list")
def list_(*, config: ConfigFile = None, keys: SetKeys = None) -> None:
    """List the base images that are here, with age and size."""
    import asyncio

    for base in asyncio.run(_kept(read_settings(config, keys).settings)):
        typer.echo(f"{'*' if base.is_current else ' '} {describe(base)}")


@app.command("prune")
def prune(*, config: ConfigFile = None, keys: SetKeys = None) -> None:
    """Remove the base images that these settings do not use; built images keep what they share with them."""
    import asyncio

    removed = asyncio.run(_prune(read_settings(config, keys).settings))
    for base in removed:
        typer.echo(f"Removed {describe(base)}")
    if not removed:
        typer.echo("There is nothing to remove.")


def describe(base: KeptBase) -> str:
    """Give an image in one line."""
    import time

    days = (time.time() - base.made_at) / 86400
    return f"{base.name or base.id[:19]}, {base.size / 1024**2:.0f} MB, {days:.1f} days old"


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


async def _build(settings: Settings) -> str:
    import asyncio

    from binderlet.events.buildlog import BuildLog

    path = await _state(settings) / "base-log"
    await asyncio.to_thread(path.unlink, missing_ok=True)
    build_log = BuildLog(path)
    async with _bases(settings) as bases, asyncio.TaskGroup() as group:
        group.create_task(_show(build_log), name="log of the base image")
        try:
            return (await bases.renew(build_log)).name
        finally:
            build_log.finish()


async def _show(build_log: BuildLog) -> None:
    async for event in build_log.follow():
        typer.echo(event.message, nl=False, err=True)


async def _kept(settings: Settings) -> list[KeptBase]:
    async with _bases(settings) as bases:
        return await bases.kept()


async def _prune(settings: Settings) -> list[KeptBase]:
    async with _bases(settings) as bases:
        return await bases.prune()
