"""One thing done to the machine each: whether it is done, doing it, and taking it back.

``before`` gives what ``undo`` needs, as JSON: it is put on record before anything happens, so that an interruption
leaves nothing that nobody knows of. Taking back what was not done after all does no harm.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any, Protocol

from binderlet.deploy.install.host import Host

Undo = Mapping[str, Any]
RELOAD = ("systemctl", "daemon-reload")


class Action(Protocol):
    """One thing."""

    @property
    def what(self) -> str:
        """Say it in a few words, for the plan."""

    def is_done(self, host: Host) -> bool:
        """Whether the machine is like that already."""

    def before(self, host: Host) -> Undo:
        """Give what takes it back from what is now; empty where there is nothing to take back."""

    def do(self, host: Host) -> None:
        """Do it.

        Raises:
            InstallError: it cannot be done.
        """


@dataclass(frozen=True, slots=True)
class Packages:
    """Debian packages."""

    names: Sequence[str]

    @property
    def what(self) -> str:
        """Name them."""
        return f"packages {' '.join(self.names)}"

    def missing(self, host: Host) -> list[str]:
        """Give those that are not installed."""
        query = ["dpkg-query", "--show", "--showformat", "${Package} ${db:Status-Status}\n", *self.names]
        found = {line.split()[0] for line in host.run(query).out.splitlines() if line.endswith(" installed")}
        return [name for name in self.names if name not in found]

    def is_done(self, host: Host) -> bool:
        """Whether all are installed."""
        return not self.missing(host)

    def before(self, host: Host) -> Undo:
        """Note those that are missing."""
        return {"packages": self.missing(host)}

    def do(self, host: Host) -> None:
        """Install those that are missing."""
        missing = self.missing(host)
        # A foreign source that cannot be read must not stop us: the next line says if something is really missing.
        host.run(["apt-get", "update"])
        host.must(
            ["apt-get", "install", "--yes", "--no-install-recommends", *missing],
            hint="/etc/apt/sources.list must name a mirror that answers.",
        )


@dataclass(frozen=True, slots=True)
class File:
    """A file with a text. ``keep``: one that is there already stays as it is, such as the operator's settings."""

    path: PurePosixPath
    text: str
    mode: int = 0o644
    keep: bool = False
    then: Sequence[str] = ()
    """A command that makes the machine read it."""

    @property
    def what(self) -> str:
        """Name it."""
        return str(self.path)

    def is_done(self, host: Host) -> bool:
        """Whether it is there as wanted."""
        there = host.read(self.path)
        return there is not None and (self.keep or there == self.text)

    def before(self, host: Host) -> Undo:
        """Note what is there, and which folders are not."""
        made = [str(folder) for folder in self.path.parents if not host.exists(folder)]
        return {"file": str(self.path), "before": host.read(self.path), "made": made, "then": list(self.then)}

    def do(self, host: Host) -> None:
        """Write it, and have it read."""
        host.write(self.path, self.text, self.mode)
        if self.then:
            host.must(self.then)


@dataclass(frozen=True, slots=True)
class Unit:
    """A systemd unit, enabled and started."""

    name: str

    @property
    def what(self) -> str:
        """Name it."""
        return f"start {self.name}"

    def is_done(self, host: Host) -> bool:
        """Whether it runs, and will after a restart of the machine."""
        return all(_says(host, verb, self.name) for verb in ("is-active", "is-enabled"))

    def before(self, host: Host) -> Undo:  # noqa: ARG002 - it was not there
        """Name it."""
        return {"unit": self.name}

    def do(self, host: Host) -> None:
        """Enable and start it."""
        host.must(["systemctl", "daemon-reload"])
        host.must(["systemctl", "enable", "--now", self.name], hint=f"journalctl -u {self.name} says why.")


@dataclass(frozen=True, slots=True)
class Fresh:
    """A running unit that started before one of its files was changed is started anew."""

    name: str
    files: Sequence[PurePosixPath]

    @property
    def what(self) -> str:
        """Name it."""
        return f"restart {self.name}"

    def is_done(self, host: Host) -> bool:
        """Whether it runs with the files as they are; one that does not run takes them when it starts."""
        asked = ["systemctl", "show", "--value", "--property=ActiveEnterTimestamp", "--timestamp=unix", self.name]
        since = host.run(asked).out.strip().removeprefix("@")
        if not since.isdigit() or not _says(host, "is-active", self.name):
            return True
        changed = [host.at(file).lstat().st_mtime for file in self.files if host.exists(file)]
        return max(changed, default=0.0) <= int(since) + 1  # systemd tells whole seconds

    def before(self, host: Host) -> Undo:  # noqa: ARG002 - nothing depends on it
        """Nothing is to be taken back."""
        return {}

    def do(self, host: Host) -> None:
        """Start it anew."""
        host.must(["systemctl", "restart", self.name], hint=f"journalctl -u {self.name} says why.")


@dataclass(frozen=True, slots=True)
class User:
    """A system user with a group of its own name, without a login."""

    name: str
    home: PurePosixPath

    @property
    def what(self) -> str:
        """Name it."""
        return f"user {self.name}"

    def is_done(self, host: Host) -> bool:
        """Whether there is one."""
        return host.run(["getent", "passwd", self.name]).code == 0

    def before(self, host: Host) -> Undo:  # noqa: ARG002 - it was not there
        """Name it."""
        return {"user": self.name}

    def do(self, host: Host) -> None:
        """Make it."""
        options = ["--system", "--user-group", "--no-create-home", "--home-dir", str(self.home)]
        host.must(["useradd", *options, "--shell", "/usr/sbin/nologin", self.name])


@dataclass(frozen=True, slots=True)
class Displaced:
    """A unit of a Debian package that must not run beside ours; uninstalling gives it back as it was."""

    name: str

    @property
    def what(self) -> str:
        """Name it."""
        return f"stop {self.name}"

    def is_done(self, host: Host) -> bool:
        """Whether it neither runs nor will."""
        return not any(_says(host, verb, self.name) for verb in ("is-active", "is-enabled"))

    def before(self, host: Host) -> Undo:
        """Note how it is."""
        was = {"enabled": _says(host, "is-enabled", self.name), "active": _says(host, "is-active", self.name)}
        return {"displaced": self.name, **was}

    def do(self, host: Host) -> None:
        """Disable and stop it."""
        host.must(["systemctl", "disable", "--now", self.name])


def _says(host: Host, verb: str, unit: str) -> bool:
    return host.run(["systemctl", "--quiet", verb, unit]).code == 0


def undo(host: Host, what: Undo, *, is_down: bool = False) -> None:
    """Take back what an action did. Packages stay: others may use them by now, and ``uninstall`` names them.

    ``is_down`` says that all units are stopped and disabled already, and that systemd is told of files afterwards.

    Raises:
        InstallError: it cannot be taken back.
    """
    if name := what.get("unit"):
        if not is_down:
            host.run(["systemctl", "disable", "--now", name])
        if name.endswith(".timer"):
            host.remove(f"/var/lib/systemd/timers/stamp-{name}")
    if path := what.get("file"):
        _put_back(host, path, what, is_down=is_down)
    if folder := what.get("folder"):
        host.remove(folder)
    if user := what.get("user"):
        host.run(["userdel", user])
    if name := what.get("displaced"):
        for verb in [verb for verb, was in (("enable", what["enabled"]), ("start", what["active"])) if was]:
            host.run(["systemctl", verb, name])


def _put_back(host: Host, path: str, what: Undo, *, is_down: bool) -> None:
    if what["before"] is None:
        host.remove(path)
        host.remove_empty(what["made"])
    else:
        host.write(path, what["before"], 0o644)
    if what["then"] and not (is_down and tuple(what["then"]) == RELOAD):
        host.run(what["then"])
