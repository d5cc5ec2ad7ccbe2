"""``binderlet builder-image``: the image of the pods that build in a cluster."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from binderlet.cli.options import ConfigFile, SetKeys, read_settings

if TYPE_CHECKING:
    from binderlet.config.schema import Settings
    from binderlet.events.buildlog import BuildLog
    from binderlet.images.shelf import Shelf


def builder_image(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Its name: registry.example.org/binder/builder:1.")],
    *,
    push: Annotated[
        bool, typer.Option("--push", help="Push it, and the base image, to the registry in their names.")
    ] = False,
    config: ConfigFile = None,
    keys: SetKeys = None,
) -> None:
    """Make the image of builder pods on this machine, by Docker or Podman; the chart's builders.image names it.

    It has this version of binderlet in it: make it anew with each upgrade. Use the service's own settings: the base
    image is made as they say, and pods look for that one.
    """
    import asyncio

    from binderlet.app.builders import shelf

    settings = read_settings(config, keys).settings
    for line in asyncio.run(_make(settings, name, shelf(settings) if push else None)):
        typer.echo(line)


async def _make(settings: Settings, name: str, place: Shelf | None) -> list[str]:
    import asyncio
    import os

    from binderlet.builder.workbench import open_workbench
    from binderlet.config.network import network_environment, read_text
    from binderlet.deploy import builder_image as image
    from binderlet.events.buildlog import BuildLog
    from binderlet.images.courier import open_courier

    state = await asyncio.to_thread(settings.paths.state.absolute) / "local"
    path = state / "builder-image-log"
    await asyncio.to_thread(path.unlink, missing_ok=True)
    build_log = BuildLog(path)
    network = await asyncio.to_thread(network_environment, settings.network, os.environ, read_text)
    async with open_workbench(settings, network, state) as bench, asyncio.TaskGroup() as group:
        group.create_task(_show(build_log), name="log of the builder image")
        try:
            made = await image.make(bench, network, name, build_log)
            if place is None:
                return [name]
            async with open_courier(place, bench.docker, state, network.ca_bundle) as courier:
                return await image.push(made, courier, build_log)
        finally:
            build_log.finish()


async def _show(build_log: BuildLog) -> None:
    async for event in build_log.follow():
        typer.echo(event.message, nl=False, err=True)
