"""Looking at a machine."""

from __future__ import annotations

import grp
import os
import socket
from pathlib import Path

import psutil
import pytest

from binderlet.deploy.install.ground import addresses, group_of, holder_of, look, machine, names_storage, system
from binderlet.deploy.install.host import Said
from binderlet.deploy.install.wanted import STATE, Wanted
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
    assert asked == [80, 443, 80]


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


def test_what_the_steps_depend_on(tmp_path: Path) -> None:
    """An engine's socket and its group, packages that only some releases have, storage in settings from before."""
    host = FakeHost(tmp_path, lambda command: Said(0, "docker-cli\ndocker-x\n") if command[0] == "apt-cache" else None)
    bare = machine(host)
    assert (bare.has_engine, bare.available, bare.engine_group) == (False, frozenset({"docker-cli"}), "docker")
    host.write("/var/run/docker.sock", "", 0o660)
    host.write("/etc/binderlet/binderlet.toml", '[registry.s3]\nendpoint = "https://s3.example.org/"\n', 0o640)
    found = machine(host)
    assert found.has_engine
    assert found.has_storage
    assert found.engine_group == grp.getgrgid(os.getegid()).gr_name


def test_whose_socket_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that only its owner may use has no group, nor has one whose group has no name."""
    host = FakeHost(tmp_path)
    host.write("/s", "", 0o600)
    assert group_of(host, "/s") == ""
    host.at("/s").chmod(0o660)

    def unknown(_: int) -> None:
        raise KeyError

    monkeypatch.setattr(grp, "getgrgid", unknown)
    assert group_of(host, "/s") == ""


@pytest.mark.parametrize("text", ["", "no toml", "registry = 7", "[registry.s3]\nbucket = 'b'"])
def test_settings_without_storage(text: str) -> None:
    """Whatever else is in them, wrong or not."""
    assert not names_storage(text)
