"""``binderlet up``: starts the service, shows how that comes along, and serves until Ctrl-C."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from binderlet.cli.options import ConfigFile, SetKeys, read_settings

if TYPE_CHECKING:
    from pathlib import Path

    from binderlet.cli.address import Address
    from binderlet.config.schema import Settings


def up(
    *,
    port: Annotated[int | None, typer.Option("--port", help="Port visitors reach it at: server.port.")] = None,
    host: Annotated[str | None, typer.Option("--host", help="Address it listens on: server.host.")] = None,
    public_url: Annotated[
        str | None, typer.Option("--public-url", help="URL visitors type: server.public_url.")
    ] = None,
    state: Annotated[str | None, typer.Option("--state", help="Folder for its files: paths.state.")] = None,
    launch: Annotated[
        str, typer.Option("--launch", metavar="URL", help="Launch this repository once it runs, and print the link.")
    ] = "",
    example: Annotated[bool, typer.Option("--example", help="Launch the bundled example once it runs.")] = False,
    detach: Annotated[
        bool, typer.Option("--detach", "-d", help="Return once it runs; 'stop-service' ends it.")
    ] = False,
    config: ConfigFile = None,
    keys: SetKeys = None,
) -> None:
    """Start the service and serve until Ctrl-C."""
    flags = {"server.port": port, "server.host": host, "server.public_url": public_url, "paths.state": state}
    settings = read_settings(config, keys, flags).settings
    wanted = _address(launch, settings) if launch else None
    if example:
        settings, wanted = with_example(settings)
    if detach:
        from binderlet.cli.detach import serve_detached

        given = [f"{key}={value}" for key, value in flags.items() if value is not None]
        if example:
            given += _example_settings(settings)
        serve_detached(settings, wanted, _arguments(config, [*(keys or ()), *given]))
    else:
        from binderlet.cli.foreground import serve_here

        serve_here(settings, wanted)


def with_example(settings: Settings) -> tuple[Settings, Address]:
    """Make the bundled example a repository on this machine that may be launched, and give its address."""
    from binderlet.cli.address import folder_address
    from binderlet.deploy.example import prepare_example

    folder = prepare_example(settings.paths.state)
    git = settings.providers.git
    git = git.model_copy(update={"enabled": True, "local_folders": [*git.local_folders, folder]})
    providers = settings.providers.model_copy(update={"git": git})
    return settings.model_copy(update={"providers": providers}), folder_address(folder)


def _address(url: str, settings: Settings) -> Address:
    from binderlet.cli.launch import address_of

    return address_of(url, settings)


def _example_settings(settings: Settings) -> list[str]:
    """Give what lets another process launch the example without launching it by itself, which is done from here."""
    import json

    folders = json.dumps([str(folder) for folder in settings.providers.git.local_folders])
    return ["providers.git.enabled=true", f"providers.git.local_folders={folders}"]


def _arguments(config: Path | None, keys: list[str]) -> list[str]:
    """Give the arguments of the process that serves in the background."""
    arguments = ["up", *(["--config", str(config)] if config else [])]
    return arguments + [part for key in keys for part in ("--set", key)]
