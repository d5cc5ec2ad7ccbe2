"""``binderlet doctor``."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from binderlet.deploy import doctor, doctor_probes
from binderlet.finding import Finding
from support.command import Command

FINDINGS = [
    Finding("engine", "ok", "Docker 20.10 at /var/run/docker.sock"),
    Finding("swap", "warn", "none", "swapon /swapfile"),
]


@pytest.fixture
def command(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Command:
    """The command line, where the doctor finds what the test says."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(doctor_probes, "gather", lambda _settings, *, network: network)
    monkeypatch.setattr(doctor, "evaluate", lambda network: FINDINGS if not network else [Finding("x", "fail", "down")])
    return Command(tmp_path, capsys)


def test_text(command: Command) -> None:
    """Each finding is a line, and the mend is below it."""
    assert command("doctor") == 0
    assert command.out.splitlines() == [
        " ok  engine: Docker 20.10 at /var/run/docker.sock",
        "WARN swap: none",
        "       mend: swapon /swapfile",
    ]


def test_json(command: Command) -> None:
    """The same as JSON."""
    assert command("doctor", "--json") == 0
    assert json.loads(command.out)[1] == {"check": "swap", "level": "warn", "seen": "none", "mend": "swapon /swapfile"}


def test_failure(command: Command) -> None:
    """Something that fails gives exit code 1; --network asks for more."""
    assert command("doctor", "--network") == 1
    assert command.out == "FAIL x: down\n"
