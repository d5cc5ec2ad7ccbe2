"""Replaces the control plane while sessions go on, and goes back by itself when the new one does not work."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable

from binderlet.deploy.install.host import Host, InstallError
from binderlet.deploy.install.release import RELEASES, Program, Release, current, drop_old, switch_to
from binderlet.deploy.install.runner import Tell, alone
from binderlet.deploy.install.wanted import BINDERLET, CONFIG

SPACE = 2 * 1024**3
"""Bytes that must be free: a release takes about 300 MB, its download as much again."""
STOP = ("systemctl", "stop", "binderlet.service")
HELD = 1
"""Exit code of ``migrate`` where the service has to be stopped first."""
PATIENCE = 1800.0
"""Seconds in which the service has to come up: a new base image may have to be made first."""


def upgrade(host: Host, release: Release, tell: Tell, *, sleep: Callable[[float], None] = time.sleep) -> None:
    """Install a release, switch to it, and launch the example for real; on failure the old one runs again.

    Raises:
        InstallError: nothing is installed, there is no room, or the new release does not work; then all is as before.
    """
    with alone(host):
        before = current(host)
        if not before:
            raise InstallError("binderlet is not installed here.", hint="'binderlet install' does that.")
        if before == release.id:
            tell(f"{before} runs already")
            return
        _check_room(host)
        tell(f"installing {release.id} beside {before}")
        Program(release, switch=False).do(host)
        host.must(
            [f"{RELEASES}/{release.id}/bin/binderlet", "config", "check", "--config", str(CONFIG)],
            hint="The new release does not take these settings; nothing was changed.",
        )
        tell("switching: sessions, builds and HAProxy go on")
        try:
            fit_databases(host, release.id)
            _run(host, release.id, sleep)
        except InstallError as error:
            tell(f"{release.id} does not work: going back to {before}")
            _go_back(host, before, tell, sleep)
            raise InstallError(
                f"{release.id} does not work, and {before} runs again. {error.message}", hint=error.hint
            ) from error
        tell(f"{release.id} runs, and has launched the example")
        for old in drop_old(host, {before, release.id}):
            tell(f"removed {old}")


def is_later(host: Host, release: Release) -> bool:
    """Whether another release than this one serves, which is then replaced with care."""
    serves = host.run(["systemctl", "--quiet", "is-active", "binderlet.service"]).code == 0
    return current(host) not in {"", release.id} and serves


def _run(host: Host, release: str, sleep: Callable[[float], None]) -> None:
    switch_to(host, release)
    # Each release writes its own units; HAProxy's takes effect when it starts next, as open WebSockets hang on it.
    host.must([str(BINDERLET), "install", "--units"])
    # It ends what it was asked for first, such as a base image's Debian part, and comes again as the new one.
    host.run(["systemctl", "reload", "binderlet-helper.service"])
    host.must(["systemctl", "restart", "binderlet.service"], hint="journalctl -u binderlet says why.")
    wait_until_up(host, sleep)
    host.must([str(BINDERLET), "check", "--config", str(CONFIG)], hint="journalctl -u binderlet says why.")


def _go_back(host: Host, before: str, tell: Tell, sleep: Callable[[float], None]) -> None:
    # One that is started again and again would migrate what has just been put back.
    host.run(STOP)
    try:
        fit_databases(host, before)
    except InstallError as error:
        # It serves without its history, too, and says so itself.
        tell(f"the databases stay as they are: {error.message}")
    _run(host, before, sleep)


def fit_databases(host: Host, release: str) -> None:
    """Make the databases fit a release; the service is stopped only where they cannot be used meanwhile.

    Raises:
        InstallError: they cannot be migrated; nothing is lost, and the service may be stopped.
    """
    command = [f"{RELEASES}/{release}/bin/binderlet", "migrate", "--config", str(CONFIG)]
    code = host.run(command).code
    if code == HELD:
        host.must(STOP, hint="journalctl -u binderlet says why.")
    if code:
        host.must(command, hint="The databases are as they were, or up to a step that is whole: nothing is lost.")


def wait_until_up(host: Host, sleep: Callable[[float], None] = time.sleep, patience: float = PATIENCE) -> None:
    """Return once the service answers.

    Raises:
        InstallError: it does not, with its last words.
    """
    for _ in range(int(patience)):
        if host.run([str(BINDERLET), "status", "--config", str(CONFIG)]).code in {0, 1}:
            return
        if host.run(["systemctl", "--quiet", "is-failed", "binderlet.service"]).code == 0:
            break
        sleep(1.0)
    words = host.run(["journalctl", "--unit", "binderlet", "--lines", "15", "--output", "cat", "--no-pager"]).out
    raise InstallError(f"The service does not come up. Its last words: {words.strip()}")


def _check_room(host: Host) -> None:
    free = shutil.disk_usage(host.at(RELEASES)).free
    if free < SPACE:
        raise InstallError(
            f"{free / 1024**3:.1f} GB are free, and a release needs {SPACE / 1024**3:.0f} while it is installed.",
            hint="'binderlet base prune' and 'docker system df' show what could go.",
        )
