"""``binderlet deploy`` and ``cloud-init``: another machine as a service."""

from __future__ import annotations

from typing import Annotated

import typer

from binderlet.cli.asked import Asked, given, takes
from binderlet.cli.install import DryRun, Wheel, temporary_folder, this_release_of


@takes
def deploy(
    asked: Asked,
    target: Annotated[str, typer.Argument(metavar="USER@HOST", help="As ssh takes it; the user must be root.")],
    *,
    ssh_options: Annotated[
        list[str] | None, typer.Option("--ssh-option", metavar="KEY=VALUE", help="As for 'ssh -o'. May be repeated.")
    ] = None,
    dry_run: DryRun = False,
    wheel: Wheel = None,
) -> None:
    """Do on another machine, over ssh, what 'binderlet install' does on this one; run it again to change or upgrade.

    It goes on there when the connection breaks, and is followed again. --ssh-port is also where ssh is reached. For a
    --dry-run the program is put there, in /var/lib/binderlet-deploy, and no more.
    """
    from binderlet.deploy.install.remote import Remote
    from binderlet.deploy.install.remote import deploy as install_there

    changes = given(asked)
    options = ["-p", str(asked.ssh_port)] if asked.ssh_port else []
    for option in ssh_options or ():
        options += ["-o", option]
    with temporary_folder() as folder:
        install_there(Remote(target, options), this_release_of(folder, wheel), changes, typer.echo, dry_run=dry_run)


@takes
def cloud_init(
    asked: Asked,
    *,
    source: Annotated[str, typer.Option("--source", help="What pip installs: binderlet==VERSION, or a URL.")] = "",
) -> None:
    """Print user-data that makes a new machine of any provider a service at its first boot.

    With --s3 or other secrets it is one itself: keep it in no repository, and see docs/how-to/install.md.
    """
    from binderlet import __version__
    from binderlet.deploy.install.cloud_init import has_secrets, user_data

    changes = given(asked)
    if has_secrets(changes):
        typer.echo("This user-data holds keys. Whoever may read it has them: your provider, and its console.", err=True)
    typer.echo(user_data(source or f"binderlet=={__version__}", changes), nl=False)
