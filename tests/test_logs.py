"""What the service prints, and what it never prints."""

from __future__ import annotations

import io
import json
import logging
import sys
from collections.abc import Iterator

import pytest
import structlog

from binderlet.config.redact import MASK
from binderlet.config.schema import LogSettings, Settings
from binderlet.logs import StandardError, configure_logs, mask_fields, secrets_of

SECRET = "0123456789abcdef" * 4


class Terminal(io.StringIO):
    """A standard error that says it is a terminal."""

    def isatty(self) -> bool:
        """As terminals do."""
        return True


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    """Logging is global: put it back as it was."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    quiet = {name: logging.getLogger(name).level for name in ("aiohttp.access", "asyncio", "uvicorn.access")}
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    for name, before in quiet.items():
        logging.getLogger(name).setLevel(before)
    structlog.reset_defaults()


def lines(capsys: pytest.CaptureFixture[str]) -> list[dict[str, object]]:
    """The JSON lines written to standard error so far."""
    return [json.loads(line) for line in capsys.readouterr().err.splitlines()]


def test_json_elsewhere(capsys: pytest.CaptureFixture[str]) -> None:
    """Where standard error is no terminal, each line is one JSON object with time, level, logger and fields."""
    configure_logs(LogSettings())
    structlog.get_logger("binderlet.x").info("session started", session="s1")
    [line] = lines(capsys)
    assert line.pop("timestamp")
    assert line == {"event": "session started", "level": "info", "logger": "binderlet.x", "session": "s1"}


def test_text_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a terminal, lines are for people."""
    stream = Terminal()
    monkeypatch.setattr(sys, "stderr", stream)
    configure_logs(LogSettings())
    structlog.get_logger("binderlet.x").warning("disk nearly full", free="1G")
    assert "disk nearly full" in stream.getvalue()
    assert not stream.getvalue().startswith("{")


@pytest.mark.parametrize(("form", "is_json"), [("text", False), ("json", True)])
def test_format_setting(capsys: pytest.CaptureFixture[str], form: str, is_json: bool) -> None:  # noqa: FBT001 - a table
    """The setting wins over what standard error is."""
    configure_logs(LogSettings.model_validate({"format": form}))
    structlog.get_logger("x").info("hello")
    assert capsys.readouterr().err.startswith("{") is is_json


def test_level(capsys: pytest.CaptureFixture[str]) -> None:
    """Lines below the level are not printed, whoever writes them."""
    configure_logs(LogSettings(level="warning"))
    structlog.get_logger("x").info("one")
    logging.getLogger("x").info("two")
    structlog.get_logger("x").warning("three")
    assert [line["event"] for line in lines(capsys)] == ["three"]


def test_foreign_loggers(capsys: pytest.CaptureFixture[str]) -> None:
    """Lines of uvicorn and aiohttp take the same way, whatever was set before, and their access logs are left out."""
    logging.getLogger("uvicorn.error").addHandler(logging.StreamHandler(io.StringIO()))
    logging.getLogger("uvicorn.error").setLevel(logging.ERROR)
    configure_logs(LogSettings())
    logging.getLogger("uvicorn.error").info("Started server process [%d]", 7)
    logging.getLogger("uvicorn.access").info("GET /")
    logging.getLogger("aiohttp.access").info("GET /")
    assert [line["event"] for line in lines(capsys)] == ["Started server process [7]"]
    assert logging.getLogger("uvicorn.error").handlers == []


@pytest.mark.parametrize("form", ["text", "json"])
def test_no_secret_is_printed(capsys: pytest.CaptureFixture[str], form: str) -> None:
    """A secret shows neither in a message, nor in a field, a URL or a traceback."""
    configure_logs(LogSettings.model_validate({"format": form}), secrets=[SECRET])
    log = structlog.get_logger("x")
    message = f"the secret is {SECRET}"
    log.info(message, value=SECRET, nested={"deep": [SECRET]})
    log.info("link", url="http://h/user/x/lab?token=hunter2", clone="https://me:hunter2@host/r")
    log.info("fields", token="hunter2", password="hunter2", token_expires="")
    logging.getLogger("foreign").warning("Authorization: Bearer hunter2")
    try:
        int(SECRET + "!")
    except ValueError:
        log.exception("failed")
    printed = capsys.readouterr().err
    assert SECRET not in printed
    assert "hunter2" not in printed
    assert printed.count(MASK) >= 8
    assert "ValueError: invalid literal" in printed


def test_mask_fields() -> None:
    """Fields named like secrets are masked when they hold something; our own bookkeeping is left alone."""
    event = {"token": "x", "secret": "", "_record_token": "kept", "event": "e"}
    assert mask_fields(None, "info", event) == {"token": MASK, "secret": "", "_record_token": "kept", "event": "e"}


def test_standard_error_follows(monkeypatch: pytest.MonkeyPatch) -> None:
    """The handler writes to what standard error is at that moment, and cannot be given another stream."""
    handler = StandardError()
    for _ in range(2):
        stream = io.StringIO()
        monkeypatch.setattr(sys, "stderr", stream)
        handler.emit(logging.LogRecord("x", logging.INFO, "f", 1, "hello", None, None))
        assert stream.getvalue() == "hello\n"
    handler.stream = io.StringIO()
    assert handler.stream is sys.stderr


def test_secrets_of_settings() -> None:
    """Every secret that is set is found, however deep."""
    settings = Settings.model_validate(
        {"security": {"build_token_secret": SECRET}, "providers": {"gh": {"token": "ghp"}}}
    )
    assert sorted(secrets_of(settings)) == sorted([SECRET, "ghp"])
    assert secrets_of(Settings()) == []
