"""Looking at a machine."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import psutil
import pytest

from binderlet.deploy.install.ground import addresses, holder_of, look, system
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
