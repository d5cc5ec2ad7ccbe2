"""``binderlet check``: one real launch at the running service."""

from __future__ import annotations

import typer

from binderlet.cli.options import ConfigFile, SetKeys, read_settings
from binderlet.cli.owner import owner_of


def check(*, config: ConfigFile = None, keys: SetKeys = None) -> None:
    """Launch the bundled example at the running service, and end its session: proof that launches work.

    The example's folder, 'example' in paths.state, must be one of providers.git.local_folders.
    """
    import asyncio
    import time

    from binderlet.cli.address import folder_address
    from binderlet.cli.ask import ask
    from binderlet.cli.launch import request
    from binderlet.deploy.example import prepare_example

    settings = read_settings(config, keys).settings
    began = time.monotonic()
    with owner_of(settings.paths.state):
        address = folder_address(prepare_example(settings.paths.state))
    result = asyncio.run(request(settings, address, quiet=True, verbose=False))
    seconds = time.monotonic() - began
    ask(settings, "DELETE", f"/sessions/{session_of(str(result.body['url']))}")
    typer.echo(f"A session of the example was ready after {seconds:.1f} s.")


def session_of(url: str) -> str:
    """Take the session's id out of its URL."""
    return url.rstrip("/").rpartition("/")[2]
