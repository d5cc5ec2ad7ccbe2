"""Walking through the steps, being interrupted, and taking all of it back."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

import pytest

from binderlet.deploy.install.actions import Action, File, Fresh, Unit, User
from binderlet.deploy.install.host import InstallError, Said
from binderlet.deploy.install.runner import (
    RECORD,
    alone,
    do_all,
    install,
    name_of,
    outstanding,
    read_record,
    read_wanted,
    surplus,
    uninstall,
)
from binderlet.deploy.install.steps import Machine, Step, steps
from binderlet.deploy.install.wanted import BINDERLET, CONFIG, STATE, Wanted
from support.fake_host import FakeHost

ONE, TWO = File(PurePosixPath("/etc/one"), "1"), File(PurePosixPath("/etc/two"), "2")
WANTED_ALL = Wanted("b.org", settings={"registry.s3.endpoint": "https://s3.example.org/"})


def plan(*actions: Action) -> Sequence[Step]:
    """Make a plan of one step for each."""
    return [Step(action.what, "It is needed.", [action]) for action in actions]


def quiet(_: str) -> None:
    """Tell nobody."""


def test_what_is_done_is_not_done_again(tmp_path: Path) -> None:
    """A second run finds nothing to do, and the record has each thing once."""
    host, told = FakeHost(tmp_path), list[str]()
    assert outstanding(host, plan(ONE)) == [(plan(ONE)[0], ["/etc/one"])]
    install(host, plan(ONE, TWO), told.append)
    install(host, plan(ONE, TWO), told.append)
    assert told == [
        *("/etc/one: It is needed.", "  /etc/one", "/etc/two: It is needed.", "  /etc/two"),
        *("/etc/one: done already", "/etc/two: done already"),
    ]
    assert [done["file"] for done in read_record(host)] == ["/etc/one", "/etc/two"]
    install(host, plan(File(ONE.path, "changed")), quiet)
    assert len(read_record(host)) == 2
    assert read_record(host)[0]["before"] is None


def test_an_interrupted_run_goes_on(tmp_path: Path) -> None:
    """What was done before a failure is on record, and the next run does the rest."""
    broken = True

    def play(command: list[str]) -> Said | None:
        return Said(1, "no") if broken and command == ["reread"] else None

    host = FakeHost(tmp_path, play)
    failing = File(TWO.path, "2", then=("reread",))
    with pytest.raises(InstallError, match="no"):
        install(host, plan(ONE, failing), quiet)
    assert len(read_record(host)) == 2, "what was begun is on record, too"
    broken = False
    install(host, plan(ONE, failing), quiet)
    assert host.read("/etc/two") == "2"


class Killed(BaseException):
    """The power went."""


def everything() -> list[Step]:
    """Give the real steps, with an engine that is there and one file for a program."""
    return list(steps(WANTED_ALL, Machine(has_engine=True), ONE))


class Cuttable(FakeHost):
    """A machine whose power goes after so many programs and files."""

    def __init__(self, root: Path, after: int) -> None:
        super().__init__(root, self._play)
        self.left = after

    def write(self, path: PurePosixPath | str, text: str, mode: int) -> None:
        """Write it, if there is power."""
        self._tick()
        super().write(path, text, mode)

    def _tick(self) -> None:
        self.left -= 1
        if self.left == 0:
            raise Killed

    def _play(self, command: list[str]) -> Said | None:
        self._tick()
        if command[0] == "dpkg-query":
            return Said(0, "".join(f"{name} installed\n" for name in command[4:]))
        return Said(1, "") if "--quiet" in command or command[0] == "getent" else None


def test_power_that_goes_at_any_moment(tmp_path: Path) -> None:
    """Wherever an installation was cut off, the next one ends it, and uninstalling leaves nothing of either."""
    others = PurePosixPath("/etc/systemd/system/others.service")
    after, was_cut = 0, True
    while was_cut:
        after += 3
        host = Cuttable(tmp_path / str(after), after)
        host.at(others).parent.mkdir(parents=True)
        host.at(others).write_text("theirs")
        with contextlib.suppress(Killed):
            install(host, everything(), quiet, WANTED_ALL)
        was_cut, host.left = host.left <= 0, 0
        install(host, everything(), quiet, WANTED_ALL)
        assert host.read("/etc/systemd/system/binderlet.service")
        uninstall(host, quiet)
        assert [file.name for file in host.at("/").rglob("*") if file.is_file()] == [others.name], after
    assert after > 50


def test_a_part_that_is_left_out_this_time(tmp_path: Path) -> None:
    """It is taken back, last first; what has not our name stays, as others may use it."""
    told = list[str]()
    host = Cuttable(tmp_path, 1000)
    ours, unit = File(PurePosixPath("/etc/systemd/system/binderlet-swap.service"), "x"), Unit("binderlet-swap.service")
    install(host, plan(ONE, ours, unit, Unit("docker.service"), User("binderlet", STATE)), quiet)
    later = plan(ONE)
    assert [name_of(done) for done in surplus(host, later)] == [unit.name, str(ours.path)]
    install(host, later, told.append)
    assert told[:2] == [f"no longer wanted: {unit.name}", f"no longer wanted: {ours.path}"]
    assert "systemctl disable --now binderlet-swap.service" in host.ran
    assert not host.exists(ours.path)
    assert [name_of(done) for done in read_record(host)] == ["/etc/one", "docker.service", "binderlet"]
    assert surplus(host, later) == []


def test_what_needs_no_undoing_is_not_on_record(tmp_path: Path) -> None:
    """A restart, such as after a change."""
    host = FakeHost(tmp_path, lambda command: Said(0, "@1") if "show" in command else None)
    install(host, plan(ONE, Fresh("x.service", [ONE.path])), quiet)
    assert "systemctl restart x.service" in host.ran
    assert len(read_record(host)) == 1


def test_steps_that_are_left_as_they_are(tmp_path: Path) -> None:
    """Those that are named are neither done nor taken back."""
    host = FakeHost(tmp_path)
    do_all(host, plan(ONE, TWO), quiet, without={"/etc/one"})
    assert (host.exists("/etc/one"), host.exists("/etc/two")) == (False, True)


def test_two_at_once(tmp_path: Path) -> None:
    """The second says that the first goes on."""
    host = FakeHost(tmp_path)
    with alone(host), pytest.raises(InstallError, match="Another installation goes on"):
        install(host, plan(ONE), quiet)


def test_all_of_it_is_taken_back(tmp_path: Path) -> None:
    """The service ends first, then things go in the other order; state and record too; packages are named."""
    host = FakeHost(tmp_path)
    install(host, plan(ONE, TWO), quiet)
    host.write(RECORD, json.dumps([{"packages": ["zstd"]}, *read_record(host)]), 0o600)
    host.write("/var/lib/binderlet/history.sqlite", "x", 0o600)
    told = list[str]()
    assert uninstall(host, told.append) == ["zstd"]
    assert told[0] == "ending the service and its sessions"
    assert told[1:] == [f"taking back {what}" for what in ("/etc/two", "/etc/one", "packages")]
    assert host.ran[0] == f"{BINDERLET} stop-service --config {CONFIG}"
    assert not any(file.is_file() for file in tmp_path.rglob("*"))
    with pytest.raises(InstallError, match="Nothing was installed"):
        uninstall(host, quiet)


def test_units_end_together(tmp_path: Path) -> None:
    """In one call, last first."""
    host = FakeHost(tmp_path)
    host.write(RECORD, json.dumps([{"unit": "a.service"}, {"unit": "b.timer"}]), 0o600)
    uninstall(host, quiet)
    assert [ran for ran in host.ran if "disable" in ran] == ["systemctl disable --now b.timer a.service"]


def test_settings_and_state_can_stay(tmp_path: Path) -> None:
    """For a later installation."""
    host = FakeHost(tmp_path)
    install(host, plan(File(CONFIG, "mine")), quiet)
    host.write("/var/lib/binderlet/history.sqlite", "x", 0o600)
    uninstall(host, quiet, keep_data=True)
    assert host.read(CONFIG) == "mine"
    assert host.exists("/var/lib/binderlet/history.sqlite")


@pytest.mark.parametrize(("keep", "removed"), [(False, True), (True, False)])
def test_the_engines_images(tmp_path: Path, *, keep: bool, removed: bool) -> None:
    """Ours go, unless the operator keeps them; an engine that is away is no error."""

    def play(command: list[str]) -> Said | None:
        names = {"docker": "binderlet/env:1\nmine/base:1\nbinderlet/base:2\n", "podman": "localhost/binderlet/base:2\n"}
        return Said(0, names[command[0]]) if command[1:2] == ["images"] else None

    host = FakeHost(tmp_path, play)
    install(host, plan(ONE), quiet)
    uninstall(host, quiet, keep_images=keep)
    assert ("docker image rm --force binderlet/base:2" in host.ran) is removed
    assert ("podman image rm --force localhost/binderlet/base:2" in host.ran) is removed
    assert not any("mine/base" in ran for ran in host.ran)
    away = FakeHost(tmp_path, lambda command: Said(1, "Cannot connect") if "images" in command else None)
    install(away, plan(ONE), quiet)
    uninstall(away, quiet)


def test_what_was_asked_for_is_on_record(tmp_path: Path) -> None:
    """An upgrade needs it."""
    host = FakeHost(tmp_path)
    with pytest.raises(InstallError, match="Nothing was installed"):
        read_wanted(host)
    install(host, plan(ONE), quiet, Wanted("b.org"))
    assert read_wanted(host) == Wanted("b.org")
    uninstall(host, quiet)
    assert not any(file.is_file() for file in tmp_path.rglob("*"))


def test_kept_data_keeps_its_owner(tmp_path: Path) -> None:
    """The user stays with the files."""
    host = FakeHost(tmp_path)
    host.write(RECORD, json.dumps([{"user": "binderlet"}]), 0o600)
    uninstall(host, quiet, keep_data=True)
    assert "userdel binderlet" not in host.ran
    host.write(RECORD, json.dumps([{"user": "binderlet"}]), 0o600)
    uninstall(host, quiet)
    assert "userdel binderlet" in host.ran
