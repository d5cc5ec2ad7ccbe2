"""``binderlet migrate``: the databases fit this program, after an update or after going back from one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from binderlet.cli.options import ConfigFile, SetKeys, read_settings
from binderlet.cli.owner import owner_of

if TYPE_CHECKING:
    from binderlet.config.schema import Settings


def migrate(
    *,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be done.")] = False,
    config: ConfigFile = None,
    keys: SetKeys = None,
) -> None:
    """Make the databases in the state folder fit this program; safe to run at any time, 'binderlet upgrade' does.

    The service may run meanwhile, unless a step would break its program: then it has to be stopped, and a copy from
    before that step stays beside the database. An older program puts that copy back, and keeps the newer database.
    """
    from binderlet.deploy.databases import look

    settings = read_settings(config, keys).settings
    with owner_of(settings.paths.state):
        found = list(look(settings.paths.state))
        if dry_run:
            for each in found:
                typer.echo(str(each))
        elif any(each.needs_quiet for each in found):
            _fit_alone(settings)
        else:
            _fit(settings)


def _fit_alone(settings: Settings) -> None:
    from binderlet.deploy.lock import InstanceLock

    with InstanceLock(settings.server.instance, settings.paths.state.resolve()):
        _fit(settings)


def _fit(settings: Settings) -> None:
    import time

    from binderlet.deploy.databases import fit, look

    for each in look(settings.paths.state):
        typer.echo(fit(each, at=time.time()))
