"""``binderlet install``, ``uninstall`` and ``upgrade``: this machine as a service."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from binderlet.cli.asked import Asked, given, takes

if TYPE_CHECKING:
    from binderlet.deploy.install.host import Host
    from binderlet.deploy.install.release import Release
    from binderlet.deploy.install.steps import Step
    from binderlet.deploy.install.wanted import Wanted

Wheel = Annotated[
    Path | None, typer.Option("--wheel", exists=True, dir_okay=False, help="Install this release instead of ours.")
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Only say what would be done.")]


@takes
def install(
    asked: Asked,
    *,
    dry_run: DryRun = False,
    units: Annotated[bool, typer.Option("--units", hidden=True)] = False,
    asked_in: Annotated[Path | None, typer.Option("--asked-in", hidden=True)] = None,
    wheel: Wheel = None,
) -> None:
    """Make this machine a public Binder: packages, program, settings, kernel, swap, firewall, service, HTTPS.

    What is done already is not done again, so it can be interrupted and repeated; what is not asked for again stays as
    it was. Another release replaces the one that runs as 'upgrade' does. Needs root and systemd.
    """
    import json

    from binderlet.deploy.install.runner import asked_before
    from binderlet.deploy.install.wanted import Wanted, check

    host = this_machine()
    if units:  # what an upgrade asks the other release for
        refresh(host)
        return
    changes = json.loads(asked_in.read_text(encoding="utf-8")) if asked_in else given(asked)
    wanted = (asked_before(host) or Wanted()).changed(changes)
    check(wanted)
    with temporary_folder() as folder:
        is_made = make_it_so(host, wanted, this_release_of(folder, wheel), dry_run=dry_run)
    if asked_in:  # it may hold keys, which are in the settings now
        asked_in.unlink()
    if not is_made:
        return
    typer.echo(f"ready: {wanted.url or 'http://' + address_of_this_machine() + '/'}")
    if url := wanted.settings.get("federation.url"):
        typer.echo(f"'binderlet federation join {url}' says what the federation still needs.")


def make_it_so(host: Host, wanted: Wanted, release: Release, *, dry_run: bool) -> bool:
    """Look, show the plan, and do it unless it is only to be shown; False then.

    Raises:
        InstallError: the machine does not fit, or something failed.
    """
    from binderlet.deploy.install.host import InstallError
    from binderlet.deploy.install.runner import install as do_all
    from binderlet.deploy.install.upgrade import is_later, upgrade, wait_until_up

    steps = steps_for(host, wanted, release)
    fits = show_findings(host, wanted)
    later = is_later(host, release)
    if later:
        typer.echo(f"upgrade: {release.id} replaces the release that runs, unless it fails to launch the example.")
    show_plan(host, steps)
    if dry_run:
        return False
    if not fits:
        raise InstallError("This machine cannot be installed on yet: see FAIL above.", hint="Mend it first.")
    if later:
        upgrade(host, release, typer.echo)
    do_all(host, steps, typer.echo, wanted)
    typer.echo("waiting for the service; the first time it makes the base image, which takes a minute or two")
    wait_until_up(host)
    return True


def refresh(host: Host) -> None:
    """Write this release's own units and what they need, as the installation was asked for; the program is there."""
    from binderlet.deploy.install.runner import do_all, read_wanted
    from binderlet.deploy.install.steps import RESTART

    with temporary_folder() as folder:
        steps = steps_for(host, read_wanted(host), this_release_of(folder))
        do_all(host, steps, typer.echo, without={"program", RESTART})


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
    from binderlet.deploy.install.upgrade import upgrade as replace

    host = this_machine()
    with temporary_folder() as folder:
        replace(host, this_release_of(folder, wheel), typer.echo)


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


def this_release_of(folder: Path, wheel: Path | None = None) -> Release:
    """Give the release to install, as files."""
    from binderlet.deploy.install.release import this_release

    return this_release(folder, wheel)


def steps_for(host: Host, wanted: Wanted, release: Release) -> list[Step]:
    """Look at the machine and give the steps."""
    from binderlet.deploy.install.ground import machine
    from binderlet.deploy.install.release import Program
    from binderlet.deploy.install.steps import steps

    return list(steps(wanted, machine(host), Program(release)))


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
    from binderlet.deploy.install.runner import name_of, outstanding, surplus

    for done in surplus(host, steps):
        typer.echo(f"no longer wanted\n  will take back: {name_of(done)}")
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
