"""Talking to the running service over its socket."""

from __future__ import annotations

from pathlib import Path

import aiohttp
import pytest
from aiohttp.client_reqrep import ConnectionKey

from binderlet.cli.admin import connect, error_named, error_of, service_errors, socket_path
from binderlet.config import Settings
from binderlet.errors import BinderletError, Full, ServiceUnavailable, SessionNotFound
from support.admin_service import AdminService, running


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Settings with a state folder of their own."""
    return Settings.model_validate({"paths": {"state": tmp_path}, "server": {"port": 7777}})


def test_socket_path(settings: Settings, tmp_path: Path) -> None:
    """The socket is in the state folder."""
    assert socket_path(settings) == tmp_path / "run" / "admin.sock"


async def test_calls(settings: Settings, tmp_path: Path) -> None:
    """Answers are JSON, or None where there is nothing to say; paths are sent as they are encoded."""
    with running(tmp_path, AdminService()) as service:
        async with connect(settings) as client:
            assert (await client.get("/status"))["ok"] is True
            assert await client.call("DELETE", "/sessions/r-abc") is None
            assert str(client.url("/build/git/a%2Fb/HEAD")) == "http://127.0.0.1:7777/build/git/a%2Fb/HEAD"
    assert service.asked == ["GET /status", "DELETE /sessions/r-abc"]


async def test_errors_come_back(settings: Settings, tmp_path: Path) -> None:
    """The service's error is raised here as what it was there, hint included."""
    with running(tmp_path, AdminService()):
        async with connect(settings) as client:
            with pytest.raises(SessionNotFound, match="No session of that id") as caught:
                await client.call("DELETE", "/sessions/other")
            assert caught.value.hint == "Look."
            with pytest.raises(ServiceUnavailable, match="answered 500 without saying why"):
                await client.get("/broken")


async def test_no_service(settings: Settings) -> None:
    """Without a service, the error says how to start one."""
    async with connect(settings) as client:
        with pytest.raises(ServiceUnavailable, match="No service runs here") as caught:
            await client.get("/status")
    assert "binderlet up" in caught.value.hint


@pytest.mark.parametrize("body", ["", "[]", "{}", "null", "<html>"])
def test_answers_without_words(body: str) -> None:
    """An error that is not in our form is still one sentence."""
    assert isinstance(error_of(502, body), ServiceUnavailable)


def test_error_named() -> None:
    """Codes name errors; one that is unknown here keeps its words."""
    assert isinstance(error_named("full", "Full.", ""), Full)
    unknown = error_named("from_the_future", "Message.", "Hint.")
    assert (type(unknown), unknown.message, unknown.hint) == (BinderletError, "Message.", "Hint.")


def refused(error: OSError) -> aiohttp.ClientConnectorError:
    """What aiohttp raises when it cannot connect."""
    key = ConnectionKey("localhost", 80, False, True, None, None, None)
    return aiohttp.ClientConnectorError(key, error)


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (refused(PermissionError(13, "denied")), "may not talk"),
        (refused(FileNotFoundError(2, "gone")), "No service runs"),
        (aiohttp.ServerDisconnectedError(), "does not answer"),
        (TimeoutError(), "does not answer: TimeoutError"),
    ],
)
def test_foreign_errors(error: Exception, words: str) -> None:
    """What aiohttp raises becomes a sentence for the operator."""
    with pytest.raises(ServiceUnavailable, match=words), service_errors():
        raise error
