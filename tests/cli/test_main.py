"""The command as a whole: errors, exit codes, help."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from binderlet import errors
from binderlet.cli import main
from binderlet.errors import BinderletError, BuildFailed, ConfigError, EngineUnavailable, Full
from support.command import Command


@pytest.fixture
def command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Command:
    """The command line."""
    return Command(tmp_path, capsys)


def failing(error: BaseException) -> Callable[..., None]:
    """A command line that fails."""

    def app(**_: object) -> None:
        raise error

    return app


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (BuildFailed("It failed."), 1),
        (ConfigError("server.port: wrong."), 2),
        (EngineUnavailable("It is down."), 3),
        (Full("No room."), 4),
        (ExceptionGroup("g", [BuildFailed("It failed."), ExceptionGroup("h", [Full("No room.")])]), 4),
    ],
)
def test_exit_codes(command: Command, monkeypatch: pytest.MonkeyPatch, error: BaseException, code: int) -> None:
    """Each kind of failure has its exit code, and none prints a traceback."""
    monkeypatch.setattr(main, "app", failing(error))
    assert command("x") == code
    assert "Traceback" not in command.err
    assert command.out == ""


def test_report(capsys: pytest.CaptureFixture[str]) -> None:
    """An error is its sentence and its hint; more lines are indented below the first."""
    assert main.report(ConfigError("a: wrong.\nb: wrong.", hint="Look.")) == 2
    assert capsys.readouterr().err == "error: a: wrong.\n  b: wrong.\n  hint: Look.\n"


def test_report_without_words(capsys: pytest.CaptureFixture[str]) -> None:
    """An error without a message is told by its code."""
    main.report(BinderletError(""))
    assert capsys.readouterr().err.startswith("error: error\n")


@pytest.mark.parametrize(
    "error",
    [ValueError("a bug"), ExceptionGroup("g", [ValueError("a bug")]), ExceptionGroup("g", [ValueError(), Full("x")])],
)
def test_bugs_are_not_hidden(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    """What is not one of our errors is raised as it is."""
    monkeypatch.setattr(main, "app", failing(error))
    with pytest.raises(type(error)):
        main.run(["x"])


@pytest.mark.parametrize(
    ("error", "code"), [(KeyboardInterrupt(), main.INTERRUPTED), (OSError(errno.EPIPE, "Broken pipe"), main.FAILED)]
)
def test_interrupted(command: Command, monkeypatch: pytest.MonkeyPatch, error: BaseException, code: int) -> None:
    """Ctrl-C, and a reader that stops reading such as 'head', cause no traceback."""

    def echo(_text: str) -> None:
        raise error

    monkeypatch.setattr("binderlet.cli.version.typer.echo", echo)
    assert command("version", state=False) == code
    assert command.err.strip() == ""


def test_wrong_command_line(command: Command) -> None:
    """A wrong command line is a usage error."""
    assert command("launch", state=False) == 2
    assert "URL" in command.err
    assert command("nonsense", state=False) == 2


def test_every_code_is_documented() -> None:
    """The module says what each exit code means."""
    for code in (main.FAILED, main.USAGE, main.UNAVAILABLE, main.REFUSED, main.INTERRUPTED):
        assert f"{code} " in (main.__doc__ or "")
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, BinderletError)]
    assert {main.exit_code(kind("x")) for kind in kinds} == {1, 2, 3, 4}


def test_help_is_quick() -> None:
    """Help loads none of the service, so that it is there at once."""
    script = (
        "import sys\nfrom binderlet.cli import main\ntry:\n    main.run(['--help'])\nexcept SystemExit:\n    pass\n"
        "heavy = {'aiohttp', 'pydantic', 'rich', 'structlog', 'aiodocker', 'starlette', 'asyncio'} & set(sys.modules)\n"
        "sys.exit(str(heavy) if heavy else 0)"
    )
    environment = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE")}
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, check=False, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    assert "launch" in done.stdout


def test_help_is_whole(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the list of commands no sentence is cut off on a terminal of 80 columns."""
    monkeypatch.setenv("COLUMNS", "80")
    assert command("--help", state=False) == 0
    listed = command.out.partition("Commands:")[2]
    assert "stop-service" in listed
    assert "..." not in listed
