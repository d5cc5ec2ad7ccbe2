"""``binderlet deploy`` and ``cloud-init``: another machine as a service."""

from __future__ import annotations

from typing import Annotated

import typer

from binderlet.cli.install import Domain, Email, Firewall, Https, Swap, Updates, Wheel, temporary_folder
from binderlet.cli.options import SetKeys


def deploy(
    target: Annotated[str, typer.Argument(metavar="USER@HOST", help="As ssh takes it; the user must be root.")],
    *,
    domain: Domain = "",
    email: Email = "",
    https: Https = True,
    firewall: Firewall = True,
    swap: Swap = True,
    updates: Updates = True,
    ssh_port: Annotated[int, typer.Option("--ssh-port", help="Where ssh listens there.")] = 22,
    ssh_options: Annotated[
        list[str] | None, typer.Option("--ssh-option", metavar="KEY=VALUE", help="As for 'ssh -o'. May be repeated.")
    ] = None,
    wheel: Wheel = None,
    keys: SetKeys = None,
) -> None:
    """Do on another machine, over ssh, what 'binderlet install' does on this one; run it again to upgrade settings.

    It goes on there when the connection breaks, and is followed again.
    """
    from binderlet.deploy.install.release import this_release
    from binderlet.deploy.install.remote import Remote
    from binderlet.deploy.install.remote import deploy as install_there

    options = ["-p", str(ssh_port)]
    for option in ssh_options or ():
        options += ["-o", option]
    given = arguments(
        domain=domain, email=email, https=https, firewall=firewall, swap=swap, updates=updates, ssh_port=ssh_port
    )
    given += [part for key in keys or () for part in ("--set", key)]
    with temporary_folder() as folder:
        install_there(Remote(target, options), this_release(folder, wheel), given, typer.echo)


def cloud_init(
    *,
    domain: Domain = "",
    email: Email = "",
    https: Https = True,
    firewall: Firewall = True,
    swap: Swap = True,
    updates: Updates = True,
    source: Annotated[str, typer.Option("--source", help="What pip installs: binderlet==VERSION, or a URL.")] = "",
    keys: SetKeys = None,
) -> None:
    """Print user-data that makes a new machine of any provider a service at its first boot."""
    from binderlet import __version__
    from binderlet.deploy.install.cloud_init import user_data

    given = arguments(domain=domain, email=email, https=https, firewall=firewall, swap=swap, updates=updates)
    given += [part for key in keys or () for part in ("--set", key)]
    typer.echo(user_data(source or f"binderlet=={__version__}", given), nl=False)


def arguments(*, domain: str, email: str, ssh_port: int = 22, **parts: bool) -> list[str]:
    """Give the options of 'binderlet install' that say the same."""
    given = [*(["--domain", domain] if domain else []), *(["--email", email] if email else [])]
    given += [f"--no-{name}" for name, wanted in parts.items() if not wanted]
    return given + (["--ssh-port", str(ssh_port)] if ssh_port != 22 else [])  # noqa: PLR2004 - ssh's own
