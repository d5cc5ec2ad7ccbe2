"""``binderlet restore``: a new machine goes on with the history, settings and secrets of an old one."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from binderlet.cli.options import AsJson, ConfigFile, SetKeys, read_settings
from binderlet.cli.owner import hand_over

if TYPE_CHECKING:
    from binderlet.clients.age import Key
    from binderlet.config.load import Loaded
    from binderlet.config.schema import Settings
    from binderlet.deploy.backup_places import Place

LATEST = "latest"


def restore(
    what: Annotated[
        str, typer.Argument(help="A backup's file, or the name of one in backup.to; 'latest' is its newest.")
    ],
    *,
    source: Annotated[str, typer.Option("--from", metavar="FOLDER|bucket", help="Where. Default: backup.to.")] = "",
    passphrase_file: Annotated[
        Path | None, typer.Option("--passphrase-file", help="File with the passphrase. Default: backup.passphrase.")
    ] = None,
    identity_file: Annotated[
        Path | None, typer.Option("--identity-file", help="File with age's secret key, as 'age-keygen' wrote it.")
    ] = None,
    settings_to: Annotated[
        Path | None,
        typer.Option("--settings-to", help="Where the settings go. Default: restored.toml in the state folder."),
    ] = None,
    verify: Annotated[bool, typer.Option("--verify", help="Only check that it is whole; change nothing.")] = False,
    as_json: AsJson = False,
    config: ConfigFile = None,
    keys: SetKeys = None,
) -> None:
    """Put a backup into an empty state folder, after all of it was verified; nothing is ever overwritten."""
    import json

    loaded = read_settings(config, keys)
    key = opening_key(loaded.settings, passphrase_file, identity_file)
    result = run(loaded, what, source, key, None if verify else (settings_to or default_target(loaded)))
    if not verify:
        hand_over(loaded.settings.paths.state)
    if as_json:
        typer.echo(json.dumps(result, indent=2))
        return
    typer.echo(f"{result['name']} is whole: {result['files']} files of {result['service']}.")
    for path in result["restored"]:
        typer.echo(f"Restored {path}")
    if result["settings"]:
        typer.echo(
            f"Its settings are now {result['settings']}; look at them, then start: binderlet up -c {result['settings']}"
        )


def default_target(loaded: Loaded) -> Path:
    """Give where restored settings go: never over a file that is in use."""
    return loaded.settings.paths.state / "restored.toml"


def opening_key(settings: Settings, passphrase_file: Path | None, identity_file: Path | None) -> Key:
    """Give what decrypts.

    Raises:
        ConfigError: nothing does.
    """
    from binderlet.cli.backup import read_secret
    from binderlet.clients.age import Key
    from binderlet.errors import ConfigError

    if identity_file:
        return Key(identities=read_identities(identity_file))
    passphrase = read_secret(passphrase_file) if passphrase_file else settings.backup.passphrase.get_secret_value()
    if not passphrase:
        hint = "Give --passphrase-file or --identity-file, or set backup.passphrase."
        raise ConfigError("Nothing is given that decrypts the backup.", hint=hint)
    return Key(passphrase=passphrase)


def read_identities(path: Path) -> tuple[str, ...]:
    """Give the secret keys in a file of age; its comments are left out.

    Raises:
        ConfigError: it cannot be read, or has none.
    """
    from binderlet.errors import ConfigError

    try:
        lines = [line.strip() for line in path.read_text(encoding="utf-8").splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} cannot be read: {error}.", hint="Check the path.") from error
    found = tuple(line for line in lines if line and not line.startswith("#"))
    if not found:
        raise ConfigError(f"{path} has no key.", hint="It should be as 'age-keygen' wrote it.")
    return found


def run(loaded: Loaded, what: str, source: str, key: Key, settings_to: Path | None) -> dict[str, Any]:
    """Fetch a backup if it is elsewhere, and restore it; without ``settings_to`` only verify it."""
    import asyncio
    import tempfile

    from binderlet.cli.backup import place_of

    if not source and Path(what).is_file():
        return put_back(loaded.settings, Path(what), key, settings_to)
    place = place_of(loaded.settings, source)
    with tempfile.TemporaryDirectory(prefix="binderlet-restore-") as folder:
        path = asyncio.run(fetch(place, what, Path(folder)))
        return put_back(loaded.settings, path, key, settings_to)


async def fetch(place: Place, what: str, folder: Path) -> Path:
    """Bring a backup from its place and give its file.

    Raises:
        NotFound: there is no such backup.
    """
    from binderlet.errors import NotFound

    names = [found.name for found in await place.all()]
    mine = [name for name in names if what in {name, LATEST}]
    if not mine:
        raise NotFound(f"There is no backup {what!r}.", hint="'binderlet backup --list' shows those that are there.")
    newest = max(mine, key=_made)
    await place.get(newest, folder / newest)
    return folder / newest


def _made(name: str) -> str:
    """Give the part of a backup's name that says when it was made."""
    return name.rpartition("-")[2]


def put_back(settings: Settings, path: Path, key: Key, settings_to: Path | None) -> dict[str, Any]:
    """Verify a backup, and put its files into the state folder while no service may start there."""
    from binderlet.deploy.backup import SETTINGS, install, opened_backup
    from binderlet.deploy.lock import InstanceLock

    state = settings.paths.state.resolve()
    restored: list[Path] = []
    with opened_backup(path, key, state if settings_to else path.parent) as (manifest, files):
        if settings_to is not None:
            with InstanceLock(settings.server.instance, state):
                restored = install(manifest, files, state, settings_to)
        has_settings = settings_to is not None and SETTINGS in manifest.files
        return {
            "name": path.name,
            "service": manifest.service,
            "created_at": manifest.created_at,
            "files": len(manifest.files),
            "restored": [str(each) for each in restored],
            "settings": str(settings_to) if has_settings else "",
        }
