"""``binderlet first-files``: what units of the installed service run before a control plane has run; not for people."""

from __future__ import annotations

from typing import Annotated

import typer

from binderlet.cli.options import ConfigFile, SetKeys, read_settings


def first_files(
    *,
    registry: Annotated[bool, typer.Option("--registry", help="The registry's instead of HAProxy's.")] = False,
    config: ConfigFile = None,
    keys: SetKeys = None,
) -> None:
    """Write the files that HAProxy, or the registry, starts with."""
    import asyncio

    from binderlet.app.router import write_first_files
    from binderlet.app.tier import write_registry_files

    settings = read_settings(config, keys).settings
    asyncio.run(write_registry_files(settings) if registry else write_first_files(settings))
