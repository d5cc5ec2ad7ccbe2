"""``binderlet install``, ``uninstall`` and ``upgrade``, on a machine that is a folder."""

from __future__ import annotations

import os
import socket
from dataclasses import replace
from pathlib import Path

import pytest

from binderlet.cli import install
from binderlet.cli.install import address_of_this_machine, steps_for, this_machine, this_release_of
from binderlet.deploy.install import ground, release, runner
from binderlet.deploy.install import upgrade as upgrade_module
from binderlet.deploy.install.host import Host, InstallError, Said
from binderlet.deploy.install.preflight import GIB, Ground
from binderlet.deploy.install.release import Release
from binderlet.deploy.install.wanted import Wanted
from support.command import Command
from support.fake_host import FakeHost

GROUND = Ground(("debian", "12"), 80 * GIB, 16 * GIB, (), "", (), ())


@pytest.fixture
def command(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Command:
    """The command line, where no settings file lies about."""
    monkeypatch.chdir(tmp_path)
    return Command(tmp_path, capsys)


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeHost:
    """A machine on which every program succeeds, and a release."""
    made = FakeHost(
        tmp_path / "root", lambda command: Said(0, "git installed\n") if command[0] == "dpkg-query" else None
    )
    (tmp_path / "binderlet-0.2.0-py3-none-any.whl").write_text("wheel")
    (tmp_path / "requirements.lock").write_text("lock")
    mine = Release(tmp_path / "binderlet-0.2.0-py3-none-any.whl", tmp_path / "requirements.lock")
    monkeypatch.setattr(install, "this_machine", lambda: made)
    monkeypatch.setattr(release, "this_release", lambda *_: mine)
    monkeypatch.setattr(ground, "look", lambda *_: GROUND)
    return made


def test_a_plan_changes_nothing(command: Command, host: FakeHost) -> None:
    """Each step is shown with its reason and what is left to do."""
    assert command("install", "--domain", "b.org", "--dry-run", state=False) == 0
    assert "firewall: From outside only ssh and the web" in command.out
    assert "will do: /etc/binderlet/binderlet.toml" in command.out
    assert not host.exists("/etc/binderlet")


def test_a_machine_that_does_not_fit_is_left_alone(
    command: Command, host: FakeHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is wrong is said before anything is touched."""
    monkeypatch.setattr(ground, "look", lambda *_: replace(GROUND, holders=[(80, "nginx (process 7)")]))
    assert command("install", state=False) == 1
    assert "FAIL port: 80 is held by nginx" in command.out
    assert "cannot be installed on yet" in command.err
    assert not host.exists("/etc/binderlet")


def test_install_and_uninstall(command: Command, host: FakeHost) -> None:
    """All is done, then shown as done already, then taken back; packages stay unless they are to go."""
    assert command("install", "--domain", "b.org", "--set", "server.port=8080", state=False) == 0
    assert "ready: https://b.org/" in command.out
    assert "port = 8080" in (host.read("/etc/binderlet/binderlet.toml") or "")
    assert command("install", "--domain", "b.org", state=False) == 0
    assert "settings: done already" in command.out
    assert command("uninstall", state=False) == 0
    assert "Packages that were installed for it stay: ca-certificates" in command.out
    assert "gone from this machine" in command.out
    assert command("uninstall", state=False) == 1
    assert command("install", state=False) == 0
    assert "ready: http://" in command.out
    assert command("uninstall", "--purge", state=False) == 0
    assert any(ran.startswith("apt-get purge --yes --autoremove") for ran in host.ran)


def test_upgrade(command: Command, host: FakeHost, monkeypatch: pytest.MonkeyPatch) -> None:
    """The release is handed on."""
    given = list[object]()
    monkeypatch.setattr(upgrade_module, "upgrade", lambda host, release, _: given.extend((host, release)))
    assert command("upgrade", state=False) == 0
    assert given[0] is host


def test_only_root_on_systemd(monkeypatch: pytest.MonkeyPatch) -> None:
    """Others are told so."""
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(InstallError, match="Only root"):
        this_machine()
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(Host, "exists", lambda *_: False)
    with pytest.raises(InstallError, match="systemd does not run"):
        this_machine()
    monkeypatch.setattr(Host, "exists", lambda *_: True)
    assert isinstance(this_machine(), Host)


def test_an_engine_that_answers_is_used(host: FakeHost, tmp_path: Path) -> None:
    """None is installed beside it."""
    mine = this_release_of(tmp_path)
    assert "engine" in {step.name for step in steps_for(host, Wanted(), mine)}
    host.write("/var/run/docker.sock", "", 0o600)
    assert "engine" not in {step.name for step in steps_for(host, Wanted(), mine)}


def test_the_address_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is the one that others see; without a network, the name."""
    assert address_of_this_machine()

    def away(*_: object) -> None:
        raise OSError

    monkeypatch.setattr(socket.socket, "connect", away)
    assert address_of_this_machine() == socket.gethostname()


def test_the_record_is_where_uninstall_looks(host: FakeHost, command: Command) -> None:
    """What was done is on record."""
    assert command("install", "--no-swap", state=False) == 0
    assert host.exists(runner.RECORD)


def test_an_upgrades_own_units(command: Command, host: FakeHost) -> None:
    """Another release writes its units as the installation was asked for, and leaves the program alone."""
    assert command("install", "--units", state=False) == 1
    assert "Nothing was installed here" in command.err
    assert command("install", "--domain", "b.org", "--no-swap", state=False) == 0
    host.write("/etc/systemd/system/binderlet.service", "an older one", 0o644)
    assert command("install", "--units", state=False) == 0
    assert "binderlet up" in (host.read("/etc/systemd/system/binderlet.service") or "")
    assert "program:" not in command.out
    assert not host.exists("/etc/systemd/system/binderlet-swap.service")


def test_object_storage(command: Command, host: FakeHost, monkeypatch: pytest.MonkeyPatch) -> None:
    """The bucket's URL is an option, its keys come from the environment, and the registry is a unit."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "a")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "s")
    assert command("install", "--s3", "https://s3.example.org/images", state=False) == 0
    assert host.exists("/etc/systemd/system/binderlet-registry.service")
    assert 'bucket = "images"' in (host.read("/etc/binderlet/binderlet.toml") or "")


def test_what_is_asked_for_later(command: Command, host: FakeHost) -> None:
    """What is not said again stays; settings that nobody touched follow, and what is left out is taken back."""
    swap = "/etc/systemd/system/binderlet-swap.service"
    assert command("install", "--domain", "b.org", "--set", "limits.sessions=7", state=False) == 0
    assert host.exists(swap)
    assert command("install", "--no-swap", "--federation", "https://f.org/", "--dry-run", state=False) == 0
    assert f"will take back: {swap}" in command.out
    assert host.exists(swap)
    assert command("install", "--no-swap", "--federation", "https://f.org/", state=False) == 0
    assert "binderlet federation join https://f.org/" in command.out
    assert not host.exists(swap)
    settings = host.read("/etc/binderlet/binderlet.toml") or ""
    assert "sessions = 7" in settings
    assert 'url = "https://f.org/"' in settings
    assert 'public_url = "https://b.org/"' in settings
    host.write("/etc/binderlet/binderlet.toml", settings + "# mine\n", 0o640)
    assert command("install", "--domain", "c.org", state=False) == 0
    assert "c.org" not in (host.read("/etc/binderlet/binderlet.toml") or "")


def test_packages_that_were_there(command: Command, host: FakeHost) -> None:
    """Those that nobody installed are not spoken of."""
    host.write(runner.RECORD, '[{"file": "/etc/x", "before": null, "made": [], "then": []}]', 0o600)
    assert command("uninstall", state=False) == 0
    assert "Packages" not in command.out


def test_nonsense_is_refused_first(command: Command, host: FakeHost) -> None:
    """Nothing is touched when the service could not start with it."""
    assert command("install", "--set", "limits.session=7", state=False) == 2
    assert "Did you mean limits.sessions?" in command.err
    assert host.ran == []


def test_options_in_a_file(command: Command, host: FakeHost, tmp_path: Path) -> None:
    """From another machine they come in a file, which is gone when they are in the settings."""
    asked = tmp_path / "asked.json"
    asked.write_text('{"domain": "b.org", "settings": {"limits.sessions": 7}}')
    assert command("install", "--asked-in", str(asked), state=False) == 0
    assert "sessions = 7" in (host.read("/etc/binderlet/binderlet.toml") or "")
    assert not asked.exists()
    asked.write_text('{"domain": "c.org"}')
    assert command("install", "--asked-in", str(asked), "--dry-run", state=False) == 0
    assert not asked.exists()


def test_another_release_is_an_upgrade(command: Command, host: FakeHost, monkeypatch: pytest.MonkeyPatch) -> None:
    """The one that runs is replaced with care, and then the rest is done."""
    upgraded = list[str]()
    monkeypatch.setattr(upgrade_module, "upgrade", lambda *_: upgraded.append("now"))
    assert command("install", state=False) == 0
    assert upgraded == []
    release.switch_to(host, "another")
    assert command("install", "--dry-run", state=False) == 0
    assert "upgrade: 0.2.0-" in command.out
    assert upgraded == []
    assert command("install", state=False) == 0
    assert upgraded == ["now"]
