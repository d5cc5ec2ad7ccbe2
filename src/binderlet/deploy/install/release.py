"""The program on the machine: each release in a folder of its own, one of them current.

A release is a wheel and the lock file with the exact versions and hashes of all that it needs; both are kept beside its
virtual environment, so that it can be installed again, here or on another machine.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from binderlet import __version__
from binderlet.deploy.install.actions import Undo
from binderlet.deploy.install.environment import share
from binderlet.deploy.install.host import Host, InstallError
from binderlet.deploy.install.wanted import BINDERLET, CONFIG, CURRENT, HOME

RELEASES = HOME / "releases"
LOCK = "requirements.lock"
EXTRA = CONFIG.with_name("requirements.txt")
"""The operator's own packages in every release, such as certbot's plugin for a DNS provider; need not be there."""
KEPT = 2
"""Releases that stay beside the current one, to go back to."""


@dataclass(frozen=True, slots=True)
class Release:
    """What can be installed."""

    wheel: Path
    lock: Path

    @property
    def id(self) -> str:
        """Its version, and a mark of its contents: ``0.1.0-1a2b3c4d``; blocks."""
        mark = hashlib.sha256(self.wheel.read_bytes() + self.lock.read_bytes()).hexdigest()
        return f"{self.wheel.name.split('-')[1]}-{mark[:8]}"


@dataclass(frozen=True, slots=True)
class Program:
    """The action: a release is installed, and current where ``switch``."""

    release: Release
    switch: bool = True

    @property
    def what(self) -> str:
        """Name it."""
        return f"release {self.release.id} in {RELEASES}"

    @property
    def folder(self) -> PurePosixPath:
        """Where it goes."""
        return RELEASES / self.release.id

    def is_done(self, host: Host) -> bool:
        """Whether it is there, whole, and current where it is to be."""
        return host.exists(self.folder / "complete") and (not self.switch or current(host) == self.release.id)

    def before(self, host: Host) -> Undo:  # noqa: ARG002 - it was not there
        """Name the folder of all releases."""
        return {"folder": str(HOME)}

    def do(self, host: Host) -> None:
        """Install and switch to it; a half-made one from an interrupted run is made again.

        Raises:
            InstallError: it cannot be installed, for want of room perhaps; nothing of it stays.
        """
        if not host.exists(self.folder / "complete"):
            try:
                self._install(host)
            except InstallError:
                shutil.rmtree(host.at(self.folder), ignore_errors=True)
                raise
        if self.switch:
            switch_to(host, self.release.id)

    def _install(self, host: Host) -> None:
        place = host.at(self.folder)
        try:
            host.remove(self.folder)
            place.mkdir(parents=True)
            wheel = shutil.copy(self.release.wheel, place)
            lock = shutil.copy(self.release.lock, place / LOCK)
        except OSError as error:
            raise InstallError(f"{self.folder} cannot be filled: {error.strerror or error}.") from error
        python = str(place / "bin" / "python")
        pip = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        hint = "Set PIP_INDEX_URL to a package index that answers from here."
        self._bring_packages(host, place, [*pip, "--require-hashes", "--requirement", str(lock)], hint)
        host.must([*pip, "--no-deps", str(wheel)], hint=hint)
        if host.exists(EXTRA):
            host.must([*pip, "--requirement", str(EXTRA)], hint=f"{EXTRA} names packages of yours.")
        host.must([str(place / "bin" / "binderlet"), "version"])
        host.write(self.folder / "complete", "", 0o644)

    def _bring_packages(self, host: Host, place: Path, pip: list[str], hint: str) -> None:
        venv = ["/usr/bin/python3", "-m", "venv"]
        alike = self._alike(host)
        if alike is None:
            host.must([*venv, str(place)], hint="apt-get install python3-venv")
            host.must(pip, hint=hint)
            return
        host.must([*venv, "--without-pip", str(place)], hint="apt-get install python3-venv")
        try:
            share(alike, place)
        except OSError as error:
            raise InstallError(f"{self.folder} cannot be filled: {error.strerror or error}.") from error

    def _alike(self, host: Host) -> Path | None:
        """Find an environment that was filled from the same lock file: the current release's, or the one that runs."""
        wanted = self.release.lock.read_bytes()
        for folder in (host.at(RELEASES / (current(host) or "none")), Path(sys.prefix)):
            lock = folder / LOCK
            if lock.is_file() and lock.read_bytes() == wanted:
                return folder
        return None


def current(host: Host) -> str:
    """Give the id of the release that is current; empty where there is none."""
    try:
        return host.at(CURRENT).readlink().name
    except OSError:
        return ""


def switch_to(host: Host, release: str) -> None:
    """Make a release the current one, at once."""
    beside = host.at(CURRENT.with_name(".current.new"))
    beside.unlink(missing_ok=True)
    beside.symlink_to(f"releases/{release}")
    beside.replace(host.at(CURRENT))
    _link_command(host)


def _link_command(host: Host) -> None:
    command = host.at("/usr/local/bin/binderlet")
    if not command.is_symlink():
        command.parent.mkdir(parents=True, exist_ok=True)
        command.symlink_to(BINDERLET)


def remove_command(host: Host) -> None:
    """Take the command away from the search path, if it is ours."""
    command = host.at("/usr/local/bin/binderlet")
    if command.is_symlink() and str(command.readlink()) == str(BINDERLET):
        command.unlink()


def drop_old(host: Host, keep: set[str]) -> list[str]:
    """Remove releases beyond the newest few; those in ``keep`` stay. Gives what was removed."""
    folder = host.at(RELEASES)
    others = [each for each in folder.iterdir() if each.name not in keep]
    others.sort(key=lambda each: each.stat().st_mtime, reverse=True)
    for old in others[KEPT:]:
        shutil.rmtree(old)
    return [old.name for old in others[KEPT:]]


def this_release(folder: Path, wheel: Path | None = None) -> Release:
    """Give the release that runs this code, as files; a wheel that has to be made goes into ``folder``.

    Raises:
        InstallError: it runs from something else than an installed release, a checkout or an installed wheel.
    """
    if wheel is not None:
        return Release(wheel, _lock_of(wheel, folder))
    installed = Path(sys.prefix)
    kept = sorted(installed.glob("binderlet-*.whl"))
    if kept and (installed / LOCK).exists():
        return Release(kept[-1], installed / LOCK)
    checkout = Path(__file__).parents[4]
    if (checkout / "pyproject.toml").exists() and (checkout / LOCK).exists():
        return Release(_build(checkout, folder), checkout / LOCK)
    return _download(folder)


def _build(checkout: Path, folder: Path) -> Path:
    _pip("wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", str(folder), str(checkout))
    return next(folder.glob("binderlet-*.whl"))


def _download(folder: Path) -> Release:
    _pip("download", "--no-deps", "--dest", str(folder), f"binderlet=={__version__}")
    wheel = next(folder.glob("binderlet-*.whl"))
    return Release(wheel, _lock_of(wheel, folder))


def _lock_of(wheel: Path, folder: Path) -> Path:
    """Take the lock file out of a wheel."""
    import zipfile  # noqa: PLC0415 - rarely needed

    try:
        with zipfile.ZipFile(wheel) as archive:
            text = archive.read(f"binderlet/{LOCK}")
    except (OSError, KeyError, zipfile.BadZipFile) as error:
        raise InstallError(f"{wheel} is not a wheel of binderlet: {error}.") from error
    lock = Path(tempfile.mkdtemp(dir=folder)) / LOCK
    lock.write_bytes(text)
    return lock


def _pip(*arguments: str) -> None:
    command = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        words = " ".join((done.stderr or done.stdout).split()[-40:])
        raise InstallError(f"pip {arguments[0]} failed: {words}.", hint="Give the wheel with --wheel.")
