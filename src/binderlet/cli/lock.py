"""``binderlet lock``: which packages a repository's image has."""

from __future__ import annotations

import typer

from binderlet.cli.launch import Provider, Ref, Repository
from binderlet.cli.options import ConfigFile, SetKeys, read_settings


def lock(
    url: Repository,
    *,
    ref: Ref = "",
    provider: Provider = "",
    config: ConfigFile = None,
    keys: SetKeys = None,
) -> None:
    """Print the lock of a repository that has been built here: exact packages, base image, builder.

    'binderlet build --locked FILE URL' builds with the same packages again. Needs no running service.
    """
    import asyncio

    from binderlet.cli.local import Local, Source

    settings = read_settings(config, keys).settings
    typer.echo(asyncio.run(Local(settings).lock(Source(url, ref, provider))).rstrip())
