"""``binderlet install``, ``uninstall``, ``upgrade`` and ``cloud-init``: this machine as a service."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from binderlet.cli.options import SetKeys

if TYPE_CHECKING:
    from binderlet.deploy.install.host import Host
    from binderlet.deploy.install.steps import Step
    from binderlet.deploy.install.wanted import Wanted

Domain = Annotated[str, typer.Option("--domain", help="Host name that visitors type; it must lead to this machine.")]
Email = Annotated[str, typer.Option("--email", help="Where the certificate authority writes.")]
Https = Annotated[bool, typer.Option("--https/--no-https", help="Get certificates by itself; needs --domain.")]
Firewall = Annotated[bool, typer.Option("--firewall/--no-firewall", help="From outside only ssh and the web.")]
Swap = Annotated[bool, typer.Option("--swap/--no-swap", help="Swap for sessions that nobody uses.")]
Updates = Annotated[bool, typer.Option("--updates/--no-updates", help="Security updates by themselves.")]
Wheel = Annotated[
    Path | None, typer.Option("--wheel", exists=True, dir_okay=False, help="Install this release instead of ours.")
]


S3 = Annotated[
    str,
    typer.Option(
        "--s3",
        metavar="URL",
        help="Keep images in this bucket: https://HOST/BUCKET; keys: AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY.",
    ),
]


def install(
    *,
    domain: Domain = "",
    email: Email = "",
    https: Https = True,
    firewall: Firewall = True,
    swap: Swap = True,
    updates: Updates = True,
    ssh_port: Annotated[int, typer.Option("--ssh-port", help="Stays open in the firewall.")] = 22,
    s3: S3 = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be done.")] = False,
    units: Annotated[bool, typer.Option("--units", hidden=True)] = False,
    wheel: Wheel = None,
    keys: SetKeys = None,
) -> None:
    """Make this machine a public Binder: packages, program, settings, kernel, swap, firewall, service, HTTPS.

    What is done already is not done again, so it can be interrupted and repeated. Needs root and systemd.
    """
    import os

    from binderlet.deploy.install.host import InstallError
    from binderlet.deploy.install.runner import install as do_all
    from binderlet.deploy.install.upgrade import wait_until_up
    from binderlet.deploy.install.wanted import Wanted, storage

    host = this_machine()
    if units:  # what an upgrade asks the other release for
        refresh(host)
        return
    wanted = Wanted(domain, email, https, firewall, swap, updates, ssh_port, storage(s3, os.environ) | values(keys))
    with temporary_folder() as folder:
        steps = steps_for(host, wanted, wheel, folder)
        fits = show_findings(host, wanted)
        show_plan(host, steps)
        if dry_run:
            return
        if not fits:
            raise InstallError("This machine cannot be installed on yet: see FAIL above.", hint="Mend it first.")
        do_all(host, steps, typer.echo, wanted)
    typer.echo("waiting for the service; the first time it makes the base image, which takes a minute or two")
    wait_until_up(host)
    typer.echo(f"ready: {wanted.url or 'http://' + address_of_this_machine() + '/'}")


def refresh(host: Host) -> None:
    """Write this release's own units and what they need, as the installation was asked for; the program is there."""
    from binderlet.deploy.install.runner import do_all, read_wanted

    with temporary_folder() as folder:
        steps = steps_for(host, read_wanted(host), None, folder)
        do_all(host, [step for step in steps if step.name != "program"], typer.echo)


def uninstall(
    *,
    keep_data: Annotated[bool, typer.Option("--keep-data", help="Leave settings and state for a later one.")] = False,
    keep_images: Annotated[bool, typer.Option("--keep-images", help="Leave the engine's images.")] = False,
    purge: Annotated[bool, typer.Option("--purge", help="Also remove the packages that were installed.")] = False,
) -> None:
    """End the service and its sessions, and take back all that 'binderlet install' did."""
    from binderlet.deploy.install.runner import uninstall as take_back

    host = this_machine()
    packages = take_back(host, typer.echo, keep_data=keep_data, keep_images=keep_images)
    if packages and purge:
        host.must(["apt-get", "purge", "--yes", "--autoremove", *packages])
    elif packages:
        typer.echo(f"Packages that were installed for it stay: {' '.join(packages)}")
    typer.echo("binderlet is gone from this machine.")


def upgrade(*, wheel: Wheel = None) -> None:
    """Replace the installed release by this one, or by --wheel, while sessions go on.

    A real launch decides: if it fails, the old release runs again.
    """
    from binderlet.deploy.install.release import this_release
    from binderlet.deploy.install.upgrade import upgrade as replace

    host = this_machine()
    with temporary_folder() as folder:
        replace(host, this_release(folder, wheel), typer.echo)


def values(keys: list[str] | None) -> dict[str, object]:
    """Read ``--set`` as it goes into a TOML file: numbers, true and false are such, all else is text."""
    import json

    from binderlet.cli.options import parse_keys

    found: dict[str, object] = {}
    for key, text in parse_keys(keys or ()).items():
        try:
            found[key] = json.loads(text)
        except ValueError:
            found[key] = text
    return found


def this_machine() -> Host:
    """Give the machine to install on.

    Raises:
        InstallError: this is not root, or systemd does not run.
    """
    import os

    from binderlet.deploy.install.host import Host, InstallError

    if os.geteuid() != 0:
        raise InstallError("Only root may do this.", hint="Run it with sudo.")
    host = Host()
    if not host.exists("/run/systemd/system"):
        raise InstallError("systemd does not run here.", hint="'binderlet up' serves without it.")
    return host


def steps_for(host: Host, wanted: Wanted, wheel: Path | None, folder: Path) -> list[Step]:
    """Look at the machine and give the steps."""
    from binderlet.deploy.install.ground import machine
    from binderlet.deploy.install.release import Program, this_release
    from binderlet.deploy.install.steps import steps

    return list(steps(wanted, machine(host), Program(this_release(folder, wheel))))


def show_findings(host: Host, wanted: Wanted) -> bool:
    """Print what was found on the machine; False where something must be mended first."""
    from binderlet.cli.doctor import print_finding
    from binderlet.deploy.install.ground import look
    from binderlet.deploy.install.preflight import judge

    findings = list(judge(look(host, wanted)))
    for finding in findings:
        print_finding(finding)
    return all(finding.level != "fail" for finding in findings)


def show_plan(host: Host, steps: list[Step]) -> None:
    """Print each step with its reason and what is left to do."""
    from binderlet.deploy.install.runner import outstanding

    for step, left in outstanding(host, steps):
        typer.echo(f"{step.name}: {step.why}")
        for what in left:
            typer.echo(f"  will do: {what}")
        if not left:
            typer.echo("  done already")


@contextmanager
def temporary_folder() -> Iterator[Path]:
    """Make a folder that is removed afterwards."""
    import tempfile

    with tempfile.TemporaryDirectory(prefix="binderlet-") as folder:
        yield Path(folder)


def address_of_this_machine() -> str:
    """Give the address by which this machine reaches others; its name where there is none."""
    import socket

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))
        except OSError:
            return socket.gethostname()
        return str(probe.getsockname()[0])
