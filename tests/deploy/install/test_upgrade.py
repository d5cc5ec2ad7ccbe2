"""Upgrades that work, and those that are taken back."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from binderlet.deploy.install.host import InstallError, Said
from binderlet.deploy.install.release import RELEASES, Release, current, switch_to
from binderlet.deploy.install.upgrade import is_later, upgrade, wait_until_up
from support.fake_host import FakeHost

Play = Callable[[list[str]], Said | None]


@pytest.fixture
def release(tmp_path: Path) -> Release:
    """The next one."""
    (tmp_path / "files").mkdir()
    wheel, lock = tmp_path / "files" / "binderlet-0.2.0-py3-none-any.whl", tmp_path / "files" / "requirements.lock"
    wheel.write_text("wheel")
    lock.write_text("lock")
    return Release(wheel, lock)


def installed(tmp_path: Path, play: Play = lambda _: None) -> FakeHost:
    """Make a machine that runs release ``old``."""
    host = FakeHost(tmp_path / "root", play)
    host.write(RELEASES / "old" / "complete", "", 0o644)
    switch_to(host, "old")
    return host


def test_a_release_that_works(tmp_path: Path, release: Release) -> None:
    """It is installed beside the old one, checked, switched to, restarted, and has to launch for real."""
    host, told = installed(tmp_path), list[str]()
    upgrade(host, release, told.append)
    assert current(host) == release.id
    order = [
        "config check",
        f"{release.id}/bin/binderlet migrate",
        "install --units",
        "systemctl reload binderlet-helper.service",
        "systemctl restart",
        "binderlet status",
        "binderlet check",
    ]
    places = [next(n for n, ran in enumerate(host.ran) if part in ran) for part in order]
    assert places == sorted(places)
    upgrade(host, release, told.append)
    assert told[-1] == f"{release.id} runs already"


def test_older_releases_go(tmp_path: Path, release: Release) -> None:
    """Only a few stay."""
    host = installed(tmp_path)
    for name in ("a", "b", "c"):
        host.write(RELEASES / name / "complete", "", 0o644)
    told = list[str]()
    upgrade(host, release, told.append)
    assert len([line for line in told if line.startswith("removed")]) == 1


@pytest.mark.parametrize("fails", ["systemctl restart", "binderlet check"])
def test_a_release_that_does_not_work(tmp_path: Path, release: Release, fails: str) -> None:
    """The old one runs again, by itself, and the error says why."""

    def play(command: list[str]) -> Said | None:
        new = current(host) == release.id
        return Said(1, "It is broken.") if new and fails in " ".join(command) else None

    host = installed(tmp_path, play)
    with pytest.raises(InstallError, match=r"old runs again.*It is broken"):
        upgrade(host, release, lambda _: None)
    assert current(host) == "old"
    assert host.ran[-1].endswith("binderlet check --config /etc/binderlet/binderlet.toml")


def migrating(release: str, *answers: int) -> Play:
    """Play the program of a release, whose ``migrate`` ends with these codes, one after the other, then with 0."""
    left = list(answers)

    def play(command: list[str]) -> Said | None:
        mine = f"{release}/bin/binderlet migrate" in " ".join(command)
        return Said(left.pop(0), "The disk is full.") if mine and left else None

    return play


def test_databases_that_need_a_quiet_service(tmp_path: Path, release: Release) -> None:
    """Where the service is in the way of a migration it is stopped for it; else it goes on meanwhile."""
    host = installed(tmp_path, migrating(release.id, 1))
    upgrade(host, release, lambda _: None)
    assert current(host) == release.id
    (stop,) = (n for n, ran in enumerate(host.ran) if ran == "systemctl stop binderlet.service")
    migrate, again, restart = (n for n, ran in enumerate(host.ran) if " migrate " in ran or " restart " in ran)
    assert migrate < stop < again < restart
    quiet = installed(tmp_path / "second")
    upgrade(quiet, release, lambda _: None)
    assert "systemctl stop binderlet.service" not in quiet.ran


def test_databases_that_cannot_be_migrated(tmp_path: Path, release: Release) -> None:
    """The upgrade ends, and the old release runs again, with databases that fit it."""
    host = installed(tmp_path, migrating(release.id, 3, 3))
    with pytest.raises(InstallError, match=r"old runs again.*disk is full") as caught:
        upgrade(host, release, lambda _: None)
    assert "nothing is lost" in caught.value.hint
    assert current(host) == "old"
    back = next(n for n, ran in enumerate(host.ran) if "releases/old/bin/binderlet migrate" in ran)
    assert (
        host.ran.index("systemctl stop binderlet.service")
        < back
        < host.ran.index("systemctl restart binderlet.service")
    )


def test_databases_that_cannot_be_put_back(tmp_path: Path, release: Release) -> None:
    """The old release runs all the same, and it is told."""
    play, told = migrating("old", 3, 3), list[str]()

    def both(command: list[str]) -> Said | None:
        new = current(host) == release.id
        return Said(1, "Broken.") if new and "restart" in command else play(command)

    host = installed(tmp_path, both)
    with pytest.raises(InstallError, match="old runs again"):
        upgrade(host, release, told.append)
    assert any(line.startswith("the databases stay as they are") for line in told)
    assert host.ran[-1].endswith("binderlet check --config /etc/binderlet/binderlet.toml")


def test_settings_that_the_new_release_refuses(tmp_path: Path, release: Release) -> None:
    """Nothing is switched."""
    host = installed(tmp_path, lambda command: Said(2, "unknown key") if "config" in command else None)
    with pytest.raises(InstallError, match="unknown key"):
        upgrade(host, release, lambda _: None)
    assert current(host) == "old"
    assert not any("restart" in ran for ran in host.ran)


def test_no_room(tmp_path: Path, release: Release, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that is nearly full is said before anything begins."""
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=1024**3))
    host = installed(tmp_path)
    with pytest.raises(InstallError, match=r"1\.0 GB are free"):
        upgrade(host, release, lambda _: None)
    assert host.ran == []


def test_nothing_to_upgrade(tmp_path: Path, release: Release) -> None:
    """A bare machine is told about install."""
    with pytest.raises(InstallError, match="not installed here") as error:
        upgrade(FakeHost(tmp_path / "root"), release, lambda _: None)
    assert "binderlet install" in error.value.hint


def test_waiting_for_the_service(tmp_path: Path) -> None:
    """It is asked again until it answers; one that has failed, or never comes, is an error with its last words."""
    answers = [3, 3, 1]
    slept = list[float]()
    host = FakeHost(tmp_path, lambda command: Said(answers.pop(0) if "status" in command else 1, ""))
    wait_until_up(host, slept.append)
    assert slept == [1.0, 1.0]

    def failed(command: list[str]) -> Said:
        return Said(3 if "status" in command else 0, "no port" if "journalctl" in command else "")

    with pytest.raises(InstallError, match="no port"):
        wait_until_up(FakeHost(tmp_path, failed), slept.append)
    with pytest.raises(InstallError, match="does not come up"):
        wait_until_up(FakeHost(tmp_path, lambda _: Said(3, "")), slept.append, patience=2)


def test_what_is_later(tmp_path: Path, release: Release) -> None:
    """Another release than the one that serves; where none serves there is nothing to be careful with."""
    assert is_later(installed(tmp_path), release)
    assert not is_later(FakeHost(tmp_path / "bare"), release)
    assert not is_later(installed(tmp_path / "down", lambda _: Said(3, "")), release)
    same = installed(tmp_path / "same")
    switch_to(same, release.id)
    assert not is_later(same, release)
