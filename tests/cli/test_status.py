"""``binderlet status``."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from binderlet.cli.status import describe
from support.admin_service import STATUS, AdminService, running
from support.command import Command

GIB = 1024**3

RESERVED = {
    "id": "r1",
    "provider": "gh",
    "spec": "o/r/HEAD",
    "count": 60,
    "from": 0,
    "to": 60,
    "ready": 0,
    "launched": 0,
    "problem": "",
}


@pytest.fixture
def command(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Command:
    """The command line, where no settings file lies about."""
    monkeypatch.chdir(tmp_path)
    return Command(tmp_path, capsys)


def test_well(command: Command) -> None:
    """It says how the service is, with each check."""
    with running(command.state, AdminService()):
        assert command("status") == 0
    assert command.out.splitlines() == [
        "binderlet 0.1.0 is well, up 1m",
        "sessions: 1 of 40, 2 launches wait",
        "builds:   0 run, 0 wait",
        "ok   Engine: answers",
        "warn Disk: nearly full",
    ]


def test_not_well(command: Command) -> None:
    """A service that is not well gives exit code 1."""
    with running(command.state, AdminService(status=STATUS | {"ok": False})):
        assert command("status", "--json") == 1
    assert json.loads(command.out)["ok"] is False


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"ok": False}, "is not well"),
        ({"draining": True, "ok": False}, "is stopping"),
        (
            {"memory": 24 * GIB, "memory_available": 12 * GIB, "swap": 8 * GIB, "swap_free": GIB}
            | {"hibernated": 3, "hibernation_off": "swap is nearly full", "free": 5},
            "3 hibernated (paused: swap is nearly full), 5 free\nleft:     12.0 of 24.0 GB memory, 1.0 of 8.0 GB swap",
        ),
        (
            {"memory": 24 * GIB, "memory_available": 12 * GIB, "swap": 0, "swap_free": 0}
            | {"hibernated": 0, "hibernation_off": "", "free": 5},
            "0 hibernated, 5 free\nleft:     12.0 of 24.0 GB memory, no swap",
        ),
        ({"standbys": 2}, "launches wait, 2 on standby"),
        ({"reservations": [RESERVED]}, "reserved: r1: 60 of gh/o/r/HEAD"),
        ({"session_limit": None}, "sessions: 1, 2 launches wait"),
        ({"checks": [{"service": "Engine", "ok": False, "message": "down"}]}, "FAIL Engine: down"),
    ],
)
def test_words(changes: dict[str, object], words: str) -> None:
    """Each state has its words."""
    assert words in "\n".join(describe(STATUS | changes))
