"""One thing done to a machine, and taken back."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

import pytest

from binderlet.deploy.install.actions import RELOAD, Displaced, File, Fresh, Packages, Unit, User, undo
from binderlet.deploy.install.host import InstallError, Said
from support.fake_host import FakeHost

PATH = PurePosixPath("/etc/new/file.conf")


def test_only_missing_packages_are_installed(tmp_path: Path) -> None:
    """What is there already is not ours to remove later."""
    installed = {"git"}

    def play(command: list[str]) -> Said | None:
        if command[0] == "dpkg-query":
            return Said(
                1, "".join(f"{name} installed\n" for name in sorted(installed)) + "old not-installed\nno package"
            )
        if command[:2] == ["apt-get", "install"]:
            installed.update(command[4:])
        return None

    host, packages = FakeHost(tmp_path, play), Packages(("git", "haproxy", "old"))
    assert not packages.is_done(host)
    assert packages.before(host) == {"packages": ["haproxy", "old"]}
    packages.do(host)
    assert packages.is_done(host)
    assert packages.what == "packages git haproxy old"


def test_apt_that_fails_says_so(tmp_path: Path) -> None:
    """The words are apt's, the hint says where to look."""
    host = FakeHost(tmp_path, lambda command: Said(100, "E: no") if command[:2] == ["apt-get", "install"] else None)
    with pytest.raises(InstallError, match="E: no") as error:
        Packages(("haproxy",)).do(host)
    assert "sources.list" in error.value.hint


def test_a_file_comes_and_goes(tmp_path: Path) -> None:
    """It is written once, its reader is told, and it goes with the folders that were made for it."""
    host, file = FakeHost(tmp_path), File(PATH, "text", then=("reread", "it"))
    assert not file.is_done(host)
    done = file.before(host)
    file.do(host)
    assert file.is_done(host)
    assert not File(PATH, "other").is_done(host)
    assert file.what == str(PATH)
    undo(host, done)
    assert not host.exists("/etc")
    assert host.ran == ["reread it", "reread it"]


def test_systemd_is_told_once(tmp_path: Path) -> None:
    """Where all goes, its files need no word each; other readers are told."""
    host = FakeHost(tmp_path)
    for reader in (RELOAD, ("reread",)):
        undo(host, File(PATH, "text", then=reader).before(host), is_down=True)
    assert host.ran == ["reread"]


def test_a_file_that_was_there_comes_back(tmp_path: Path) -> None:
    """What another wrote is as before; the operator's own file is never touched."""
    host = FakeHost(tmp_path)
    host.write(PATH, "theirs", 0o644)
    assert File(PATH, "text", keep=True).is_done(host)
    done = File(PATH, "ours").before(host)
    File(PATH, "ours").do(host)
    undo(host, done)
    assert host.read(PATH) == "theirs"


def test_a_unit_is_started_and_stopped(tmp_path: Path) -> None:
    """It is done only when it runs now and after a restart."""
    state: set[str] = set()

    def play(command: list[str]) -> Said | None:
        if command[1] == "--quiet":
            return Said(0 if command[2] in state else 3, "")
        return None

    host, unit = FakeHost(tmp_path, play), Unit("x.service")
    state.add("is-active")
    assert not unit.is_done(host)
    state.add("is-enabled")
    assert unit.is_done(host)
    assert unit.before(host) == {"unit": "x.service"}
    unit.do(host)
    undo(host, {"unit": "x.service"})
    assert host.ran[-3:] == [
        "systemctl daemon-reload",
        "systemctl enable --now x.service",
        "systemctl disable --now x.service",
    ]
    assert unit.what == "start x.service"
    count = len(host.ran)
    undo(host, {"unit": "x.service"}, is_down=True)
    assert len(host.ran) == count


def test_a_folder_goes_with_all_in_it(tmp_path: Path) -> None:
    """What is on record as ours is removed whole."""
    host = FakeHost(tmp_path)
    host.write("/opt/x/y", "z", 0o644)
    undo(host, {"folder": "/opt/x"})
    assert not host.exists("/opt/x")


def test_a_user_comes_and_goes(tmp_path: Path) -> None:
    """It has no login and a group of its own; one that is there stays as it is."""
    host = FakeHost(tmp_path, lambda command: Said(2, "") if command[0] == "getent" else None)
    user = User("binderlet", PurePosixPath("/var/lib/binderlet"))
    assert not user.is_done(host)
    done = user.before(host)
    user.do(host)
    assert "--system" in host.ran[-1]
    assert "nologin binderlet" in host.ran[-1]
    undo(host, done)
    assert host.ran[-1] == "userdel binderlet"
    assert user.is_done(FakeHost(tmp_path))
    assert user.what == "user binderlet"


def test_a_displaced_unit_is_given_back_as_it_was(tmp_path: Path) -> None:
    """One that ran and was enabled is so again; one that was neither is left alone."""
    active = True

    def play(command: list[str]) -> Said | None:
        return Said(0 if active else 3, "") if command[1] == "--quiet" else None

    host, displaced = FakeHost(tmp_path, play), Displaced("haproxy.service")
    assert not displaced.is_done(host)
    done = displaced.before(host)
    displaced.do(host)
    assert host.ran[-1] == "systemctl disable --now haproxy.service"
    undo(host, done)
    assert host.ran[-2:] == ["systemctl enable haproxy.service", "systemctl start haproxy.service"]
    active = False
    assert displaced.is_done(host)
    count = len(host.ran)
    undo(host, {"displaced": "haproxy.service", "enabled": False, "active": False})
    assert len(host.ran) == count
    assert displaced.what == "stop haproxy.service"


def test_a_timer_leaves_no_stamp(tmp_path: Path) -> None:
    """Systemd keeps when it ran last in a file of its own."""
    host = FakeHost(tmp_path)
    stamp = "/var/lib/systemd/timers/stamp-x.timer"
    host.write(stamp, "", 0o644)
    undo(host, Unit("x.timer").before(host))
    assert not host.exists(stamp)


@pytest.mark.parametrize(
    ("since", "active", "done"),
    [("@1", True, False), ("@99999999999", True, True), ("@1", False, True), ("", True, True)],
)
def test_what_was_changed_takes_effect(tmp_path: Path, since: str, *, active: bool, done: bool) -> None:
    """A unit that started before its file was changed starts anew; one that does not run is left alone."""

    def play(command: list[str]) -> Said | None:
        return Said(0, f"{since}\n") if command[1] == "show" else Said(0 if active else 3, "")

    host, fresh = FakeHost(tmp_path, play), Fresh("x.service", (PATH, PurePosixPath("/none")))
    assert fresh.is_done(host), "there is no file yet"
    host.write(PATH, "text", 0o644)
    assert fresh.is_done(host) is done
    assert fresh.before(host) == {}
    active = True
    fresh.do(host)
    assert host.ran[-1] == f"systemctl {fresh.what}" == "systemctl restart x.service"
