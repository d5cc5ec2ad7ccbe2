"""Looking at a machine."""

from __future__ import annotations

import grp
import os
import socket
from pathlib import Path

import psutil
import pytest

from binderlet.deploy.install.ground import (
    addresses,
    group_of,
    has_own_settings,
    holder_of,
    look,
    machine,
    names_storage,
    ssh_ports,
    system,
)
from binderlet.deploy.install.host import Said
from binderlet.deploy.install.runner import RECORD, WANTED
from binderlet.deploy.install.wanted import CONFIG, STATE, Wanted, settings_file
from support.fake_host import FakeHost


def test_the_facts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are this machine's own; without HTTPS nobody asks for port 443."""
    host = FakeHost(tmp_path, lambda _: Said(0, "192.0.2.7 STREAM b.org\n"))
    host.write("/etc/os-release", 'ID=debian\nVERSION_ID="12"\n', 0o644)
    asked = list[int]()

    def holder(port: int) -> str:
        asked.append(port)
        return "nginx" if port == 443 else ""

    monkeypatch.setattr("binderlet.deploy.install.ground.holder_of", holder)
    found = look(host, Wanted("b.org"))
    assert found.system == ("debian", "12")
    assert found.holders == [(443, "nginx")]
    assert found.addresses == ["192.0.2.7"]
    assert "127.0.0.1" in found.mine
    assert found.memory > 0
    assert look(host, Wanted("")).addresses == ()
    assert found.unlike == ()
    host.write(CONFIG, "[server]\nport = 80\n", 0o640)
    assert look(host, Wanted("b.org", https=False)).unlike[0] == "server.public_url"
    look(host, Wanted("b.org", settings={"server.port": 8080, "https.port": 8443}))
    assert asked == [80, 443, 80, 80, 8080, 8443]


@pytest.mark.parametrize(
    ("text", "found"), [('ID=ubuntu\nVERSION_ID="24.04"', ("ubuntu", "24.04")), ("", ("unknown", ""))]
)
def test_the_system(text: str, found: tuple[str, str]) -> None:
    """It is read as its file says it."""
    assert system(text) == found


def test_who_has_a_port(monkeypatch: pytest.MonkeyPatch) -> None:
    """A program on every address is in the way; one on the loopback is not, and neither is this service itself."""
    with socket.socket() as everywhere, socket.socket() as here:
        everywhere.bind(("0.0.0.0", 0))
        everywhere.listen()
        here.bind(("127.0.0.1", 0))
        here.listen()
        port = everywhere.getsockname()[1]
        assert f"process {os.getpid()}" in holder_of(port)
        assert holder_of(here.getsockname()[1]) == ""
        monkeypatch.setattr(psutil.Process, "cmdline", lambda _: ["haproxy", f"{STATE}/run/haproxy.cfg"])
        assert holder_of(port) == ""


@pytest.mark.parametrize(
    ("said", "found"),
    [
        (Said(0, "192.0.2.7  STREAM b.org\n192.0.2.7  DGRAM\n2001:db8::7  STREAM\n"), {"192.0.2.7", "2001:db8::7"}),
        (Said(2, ""), set()),
        (Said(124, ""), set()),
    ],
)
def test_where_a_name_leads(tmp_path: Path, said: Said, found: set[str]) -> None:
    """Nowhere, if the DNS does not know it or does not answer."""
    host = FakeHost(tmp_path, lambda _: said)
    assert addresses(host, "b.org") == found
    assert host.ran == ["timeout 10 getent ahosts b.org"]


def test_what_the_steps_depend_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An engine's socket and its group, packages that only some releases have, storage in settings from before."""
    monkeypatch.setattr("binderlet.deploy.install.ground.ROOT", -1)
    host = FakeHost(tmp_path, lambda command: Said(0, "docker-cli\ndocker-x\n") if command[0] == "apt-cache" else None)
    bare = machine(host)
    assert (bare.has_engine, bare.available, bare.engine_group) == (False, frozenset({"docker-cli"}), "docker")
    assert not bare.has_clock
    host.write("/usr/sbin/chronyd", "", 0o755)
    assert machine(host).has_clock
    host.write("/var/run/docker.sock", "", 0o660)
    host.write("/etc/binderlet/binderlet.toml", '[registry.s3]\nendpoint = "https://s3.example.org/"\n', 0o640)
    found = machine(host)
    assert found.has_engine
    assert found.has_storage
    assert found.engine_group == grp.getgrgid(os.getegid()).gr_name


def test_whose_socket_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that only its owner may use has no group, nor has one of root's group, or one whose group has no name."""
    host = FakeHost(tmp_path)
    host.write("/roots", "", 0o660)
    monkeypatch.setattr("binderlet.deploy.install.ground.ROOT", os.getegid())
    assert group_of(host, "/roots") == ""
    monkeypatch.setattr("binderlet.deploy.install.ground.ROOT", -1)
    host.write("/s", "", 0o600)
    assert group_of(host, "/s") == ""
    host.at("/s").chmod(0o660)

    def unknown(_: int) -> None:
        raise KeyError

    monkeypatch.setattr(grp, "getgrgid", unknown)
    assert group_of(host, "/s") == ""


def test_whose_settings_they_are(tmp_path: Path) -> None:
    """The operator's, once a word in them is not as an installation wrote it."""
    host, wanted = FakeHost(tmp_path), Wanted("b.org")
    assert not has_own_settings(host)
    host.write(CONFIG, settings_file(wanted), 0o640)
    assert has_own_settings(host), "nobody knows who wrote it"
    host.write(WANTED, wanted.as_json(), 0o600)
    assert not has_own_settings(host)
    host.write(CONFIG, settings_file(wanted) + "# mine", 0o640)
    assert has_own_settings(host)


def test_an_engine_that_an_earlier_run_installed(tmp_path: Path) -> None:
    """It stays a part of the plan."""
    host = FakeHost(tmp_path)
    assert not machine(host).made_engine
    host.write(RECORD, '[{"unit": "docker.service"}]', 0o600)
    assert machine(host).made_engine


def test_where_ssh_listens(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As its settings say and as the kernel does; what only this machine reaches does not count."""
    with socket.socket() as everywhere, socket.socket() as here:
        everywhere.bind(("0.0.0.0", 0))
        here.bind(("127.0.0.1", 0))
        for each in (everywhere, here):
            each.listen()
        monkeypatch.setattr(psutil.Process, "name", lambda self: "sshd" if self.pid == os.getpid() else "other")
        host = FakeHost(tmp_path, lambda _: Said(0, "port 22\nport 2222\nportable no\n"))
        found = ssh_ports(host)
        assert {22, 2222, everywhere.getsockname()[1]} <= found
        assert here.getsockname()[1] not in found
    assert host.ran == ["sshd -T"]


@pytest.mark.parametrize("text", ["", "no toml", "registry = 7", "[registry.s3]\nbucket = 'b'"])
def test_settings_without_storage(text: str) -> None:
    """Whatever else is in them, wrong or not."""
    assert not names_storage(text)
