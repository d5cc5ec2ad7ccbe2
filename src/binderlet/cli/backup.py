"""``binderlet backup``: an encrypted copy of history, settings and secrets."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from binderlet.cli.options import AsJson, ConfigFile, SetKeys, read_settings

if TYPE_CHECKING:
    from binderlet.clients.age import Key
    from binderlet.config.schema import Settings
    from binderlet.deploy.backup_places import Found, Place

To = Annotated[
    str, typer.Option("--to", metavar="FOLDER|bucket", help="Where. Default: backup.to.", show_default=False)
]
PassphraseFile = Annotated[
    Path | None, typer.Option("--passphrase-file", help="File with the passphrase. Default: backup.passphrase.")
]


def backup(
    *,
    to: To = "",
    passphrase_file: PassphraseFile = None,
    listing: Annotated[bool, typer.Option("--list", help="List the backups that are there.")] = False,
    if_due: Annotated[
        bool, typer.Option("--if-due", help="Only where backup.every says that it is time, as the timer does.")
    ] = False,
    as_json: AsJson = False,
    config: ConfigFile = None,
    keys: SetKeys = None,
) -> None:
    """Make a backup now; the service may run meanwhile. Images are not in it: they are in the bucket."""
    import asyncio

    settings = read_settings(config, keys).settings
    if if_due and not settings.backup.every:
        typer.echo("backup.every is 0: none is made.")
        return
    place = place_of(settings, to)
    if listing:
        show(asyncio.run(place.all()), as_json=as_json)
        return
    if if_due and (left := seconds_left(settings, place)) > 0:
        typer.echo(f"The next backup is due in {left / 3600:.1f} h.")
        return
    key = sealing_key(settings, passphrase_file)
    result = asyncio.run(make(settings, place, key))
    if as_json:
        _print_json(result)
    else:
        typer.echo(f"Made {result['name']}, {result['size']} bytes.")
        for name in result["removed"]:
            typer.echo(f"Removed the old {name}.")


async def make(settings: Settings, place: Place, key: Key) -> dict[str, Any]:
    """Make a backup, put it into its place, and remove those that are too old."""
    import time

    from binderlet.deploy.backup_schedule import run_backup

    made = await run_backup(settings, place, key, time.time())
    return {"name": made.name, "size": made.size, "removed": list(made.removed)}


def seconds_left(settings: Settings, place: Place) -> float:
    """Give the seconds until the next backup is due."""
    import asyncio

    from binderlet.deploy.backup_schedule import Schedule

    return asyncio.run(Schedule(settings, place).left())


def show(found: list[Found], *, as_json: bool) -> None:
    """Print backups, one a line."""
    from datetime import UTC, datetime

    if as_json:
        _print_json([{"name": one.name, "size": one.size, "made_at": one.made_at} for one in found])
        return
    for one in found:
        typer.echo(f"{one.name}, {one.size} bytes, {datetime.fromtimestamp(one.made_at, UTC):%Y-%m-%d %H:%M} UTC")
    if not found:
        typer.echo("There are no backups.")


def place_of(settings: Settings, to: str) -> Place:
    """Give where backups are.

    Raises:
        ConfigError: no place is named, or there is no bucket.
    """
    import os

    from binderlet.config.network import network_environment, read_text
    from binderlet.deploy.backup_schedule import backup_place

    return backup_place(settings, to, network_environment(settings.network, os.environ, read_text).ca_bundle)


def sealing_key(settings: Settings, passphrase_file: Path | None) -> Key:
    """Give what encrypts.

    Raises:
        ConfigError: nothing does.
    """
    from binderlet.clients.age import Key
    from binderlet.deploy.backup_schedule import configured_key
    from binderlet.errors import ConfigError

    key = Key(passphrase=read_secret(passphrase_file)) if passphrase_file else configured_key(settings)
    if not key:
        hint = "Set backup.passphrase or backup.recipients, or give --passphrase-file."
        raise ConfigError("A backup holds secrets, and nothing is given that encrypts it.", hint=hint)
    return key


def read_secret(path: Path) -> str:
    """Give the first line of a file.

    Raises:
        ConfigError: it cannot be read, or is empty.
    """
    from binderlet.errors import ConfigError

    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} cannot be read: {error}.", hint="Check the path.") from error
    if not lines or not lines[0]:
        raise ConfigError(f"{path} has an empty first line.", hint="Write the passphrase there.")
    return lines[0]


def _print_json(body: object) -> None:
    import json

    typer.echo(json.dumps(body, indent=2))
