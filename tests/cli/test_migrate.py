"""``binderlet migrate``; what it does to databases is tested with ``deploy/databases.py``."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from binderlet.database import Migration, connect, migrate
from binderlet.deploy import databases
from binderlet.deploy.databases import DATABASES
from binderlet.deploy.lock import InstanceLock
from support.command import Command

NAME = "history.sqlite"
INSTANCE = f"migrate-{os.getpid()}"


@pytest.fixture
def command(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Command:
    """The command line, with a state folder that has a history."""
    monkeypatch.chdir(tmp_path)
    with connect(tmp_path / NAME) as database:
        migrate(DATABASES[NAME], database, tmp_path / NAME)
    return Command(tmp_path, capsys)


def add(monkeypatch: pytest.MonkeyPatch, step: Migration) -> None:
    """Let this program have one more step for the history."""
    schema = DATABASES[NAME]
    longer = replace(schema, migrations=(*schema.migrations, step))
    monkeypatch.setattr(databases, "DATABASES", {NAME: longer})


def test_nothing_to_do(command: Command) -> None:
    """It says so, also without a state folder."""
    assert command("migrate", "--set", f"server.instance={INSTANCE}") == 0
    assert command.out == "history.sqlite: schema 1 fits\n"
    command.state /= "none"
    assert command("migrate", "--set", f"server.instance={INSTANCE}") == 0
    assert command.out == ""


def test_while_the_service_runs(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    """Steps that its program can live with are done; for others it has to be stopped."""
    add(monkeypatch, Migration(("CREATE TABLE more (id)",)))
    with InstanceLock(INSTANCE, command.state):
        assert command("migrate", "--set", f"server.instance={INSTANCE}") == 0
        assert command.out == "history.sqlite: schema 1 became 2\n"
        add(monkeypatch, Migration(("DROP TABLE builds",), breaks=True))
        with connect(command.state / NAME) as database:
            database.execute("PRAGMA user_version = 1")
        assert command("migrate", "--set", f"server.instance={INSTANCE}") == 1
        assert "runs on this machine already" in command.err
    assert command("migrate", "--set", f"server.instance={INSTANCE}") == 0
    assert "schema 1 became 1002; the one from before it is kept as" in command.out
    monkeypatch.undo()
    assert command("migrate", "--set", f"server.instance={INSTANCE}") == 0
    assert command.out.startswith("history.sqlite: put back as it was before the update")


def test_dry_run(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is done."""
    add(monkeypatch, Migration(("DROP TABLE builds",), breaks=True))
    for _ in range(2):
        assert command("migrate", "--set", f"server.instance={INSTANCE}", "--dry-run") == 0
        assert command.out == "history.sqlite: schema 1 becomes 1002; a copy from before it stays beside it\n"
