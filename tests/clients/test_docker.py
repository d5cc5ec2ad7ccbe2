"""The engine's client: finding the socket, opening it, and the map of errors."""

from __future__ import annotations

import asyncio
import inspect
import io
import secrets
import socket
import tarfile
from collections.abc import AsyncIterator
from pathlib import Path

import aiodocker.exceptions
import aiohttp
import pytest
from aiodocker.exceptions import DockerError

from binderlet.clients.docker import (
    FOREIGN_ERRORS,
    DockerClient,
    candidate_sockets,
    engine_errors,
    find_engine,
    open_docker,
    translate,
)
from binderlet.config.schema import EngineSettings
from binderlet.errors import (
    BinderletError,
    ConfigError,
    EngineUnavailable,
    ImageMissing,
    LaunchFailed,
    NotFound,
    SessionDied,
)
from support.scripted_engine import HANG, PODMAN, ScriptedEngine, scripted_engine


@pytest.fixture
async def scripted(tmp_path: Path) -> AsyncIterator[ScriptedEngine]:
    """An engine that answers by script."""
    async with scripted_engine(tmp_path) as engine:
        yield engine


@pytest.fixture
async def client(scripted: ScriptedEngine) -> AsyncIterator[DockerClient]:
    """A client that is open to it."""
    async with await open_docker(EngineSettings(socket=str(scripted.socket_path))) as opened:
        yield opened


def foreign_classes() -> list[type[Exception]]:
    """Every error class that aiodocker and aiohttp's client have."""
    found = [*vars(aiodocker.exceptions).values(), *vars(aiohttp.client_exceptions).values()]
    errors = [kind for kind in found if inspect.isclass(kind) and issubclass(kind, Exception)]
    return [kind for kind in errors if kind.__module__.startswith(("aiodocker", "aiohttp"))]


@pytest.mark.parametrize("kind", foreign_classes(), ids=lambda kind: kind.__name__)
def test_every_foreign_error_has_a_place_in_the_map(kind: type[Exception]) -> None:
    """No error class of the libraries beneath comes through as it is."""
    assert issubclass(kind, FOREIGN_ERRORS)


@pytest.mark.parametrize(
    ("error", "ours", "said"),
    [
        (DockerError(404, "No such image: x:1"), ImageMissing, "no such image: No such image: x:1."),
        (DockerError(404, "No such container: x"), NotFound, "knows no such thing: No such container: x."),
        (DockerError(409, "name in use"), LaunchFailed, "refused: name in use."),
        (DockerError(400, "bad parameter"), LaunchFailed, "refused: bad parameter."),
        (DockerError(500, ""), EngineUnavailable, "failed: DockerError."),
        (DockerError(900, "Cannot connect"), EngineUnavailable, "does not answer: Cannot connect."),
        (TimeoutError(), EngineUnavailable, "did not answer in time."),
        (FileNotFoundError(2, "No such file"), EngineUnavailable, "does not answer: [Errno 2] No such file."),
        (aiohttp.ClientPayloadError(), EngineUnavailable, "does not answer: ClientPayloadError."),
        (ValueError("no JSON"), EngineUnavailable, "makes no sense: ValueError('no JSON')."),
        (KeyError("message"), EngineUnavailable, "makes no sense: KeyError('message')."),
        (SessionDied("It died."), SessionDied, "It died."),
    ],
    ids=str,
)
def test_translation(error: Exception, ours: type[BinderletError], said: str) -> None:
    """Each foreign error becomes the one of ours that says what to do; ours stay as they are."""
    translated = translate(error)
    assert type(translated) is ours
    assert str(translated).endswith(said)


def test_errors_are_translated_in_a_block_and_keep_their_cause() -> None:
    """The foreign error stays for the log."""
    with pytest.raises(EngineUnavailable) as caught, engine_errors():
        raise TimeoutError
    assert isinstance(caught.value.__cause__, TimeoutError)


def test_our_own_mistakes_are_not_hidden() -> None:
    """What no library raises for a broken engine passes through."""
    with pytest.raises(ZeroDivisionError), engine_errors():
        raise ZeroDivisionError


@pytest.mark.parametrize(
    ("setting", "environment", "url"),
    [
        ("/run/mine.sock", {"DOCKER_HOST": "unix:///other"}, "unix:///run/mine.sock"),
        ("unix:///run/mine.sock", {}, "unix:///run/mine.sock"),
        ("", {"DOCKER_HOST": "unix:///other"}, "unix:///other"),
        ("", {"DOCKER_HOST": "tcp://10.0.0.1:2375"}, "tcp://10.0.0.1:2375"),
    ],
)
def test_setting_comes_before_environment(setting: str, environment: dict[str, str], url: str) -> None:
    """The setting wins over DOCKER_HOST, and a path is as good as a URL."""
    assert find_engine(EngineSettings(socket=setting), environment) == url


def test_usual_places_are_tried_in_order(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Without a setting, the first place with a socket is used; a plain file is none."""
    plain, real = tmp_path / "plain", tmp_path / "real"
    plain.touch()
    monkeypatch.setattr("binderlet.clients.docker.candidate_sockets", lambda _: [str(plain), str(real)])
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(real))
        assert find_engine(EngineSettings(), {}) == f"unix://{real}"


def test_places_include_those_of_the_user() -> None:
    """Docker's and Podman's system sockets come first, then those of a user without root."""
    assert candidate_sockets({"XDG_RUNTIME_DIR": "/run/user/1000"}) == [
        "/var/run/docker.sock",
        "/run/podman/podman.sock",
        "/run/user/1000/docker.sock",
        "/run/user/1000/podman/podman.sock",
    ]


def test_no_engine_anywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """The error names the places that were tried and what to install."""
    monkeypatch.setattr("binderlet.clients.docker.candidate_sockets", lambda _: ["/nowhere/a", "/nowhere/b"])
    monkeypatch.delenv("DOCKER_HOST", raising=False)
    with pytest.raises(EngineUnavailable, match="listens at /nowhere/a, /nowhere/b") as caught:
        find_engine(EngineSettings())
    assert "apt-get install docker.io" in caught.value.hint


@pytest.mark.parametrize(
    ("setting", "environment", "key"),
    [("ssh://host", {}, "engine.socket"), ("", {"DOCKER_HOST": "relative/path"}, "DOCKER_HOST")],
)
def test_unusable_address_names_its_origin(setting: str, environment: dict[str, str], key: str) -> None:
    """The error starts with where the wrong value came from."""
    with pytest.raises(ConfigError, match=f"^{key}: '(ssh://host|relative/path)' is neither"):
        find_engine(EngineSettings(socket=setting), environment)


async def test_docker_is_told_from_podman(scripted: ScriptedEngine) -> None:
    """Both speak the same API, and the client knows which it is."""
    settings = EngineSettings(socket=str(scripted.socket_path))
    async with await open_docker(settings) as client:
        assert (str(client), client.is_podman, client.socket) == ("Docker 20.10.24", False, str(scripted.socket_path))
    scripted.answer("GET version", (200, PODMAN))
    async with await open_docker(settings) as client:
        assert (await client.ping(), client.is_podman) == ("Podman 4.3.1", True)


async def test_engine_by_tcp(unused_tcp_port: int) -> None:
    """An address by TCP is tried like a socket."""
    with pytest.raises(EngineUnavailable, match="does not answer"):
        await open_docker(EngineSettings(socket=f"tcp://127.0.0.1:{unused_tcp_port}"))


async def test_socket_that_nobody_serves(tmp_path: Path) -> None:
    """A path without a listener is an engine that does not answer."""
    with pytest.raises(EngineUnavailable, match="does not answer"):
        await open_docker(EngineSettings(socket=str(tmp_path / "none.sock")))


@pytest.mark.parametrize("said", [b"hello", b"{}", b"[]"])
async def test_something_else_listens(scripted: ScriptedEngine, said: bytes) -> None:
    """A server that is no engine is reported as one that makes no sense."""
    scripted.answer("GET version", (200, said))
    with pytest.raises(EngineUnavailable, match="makes no sense"):
        await open_docker(EngineSettings(socket=str(scripted.socket_path)))


async def test_call_sends_and_gives_json(scripted: ScriptedEngine, client: DockerClient) -> None:
    """A call carries its parameters and body, and gives JSON, or an empty string where there is none."""
    scripted.answer("POST things", (201, {"Id": "1"}), (204, None))
    assert await client.call("POST", "things", params={"name": "a b"}, body={"x": 1}) == {"Id": "1"}
    assert scripted.calls[-1] == ("POST things", {"name": "a b"}, {"x": 1})
    assert await client.call("POST", "things") == ""


async def test_call_gives_the_refusal(client: DockerClient) -> None:
    """Inside, callers see the engine's own status and can decide by it."""
    with pytest.raises(DockerError) as caught:
        await client.call("GET", "nothing")
    assert caught.value.status == 404


async def test_read_is_bounded(scripted: ScriptedEngine, client: DockerClient) -> None:
    """However much the engine has to say, no more than asked for is taken."""
    scripted.answer("GET logs", (200, b"x" * 300_000))
    assert len(await client.read("logs")) == 300_000
    assert await client.read("logs", limit=10) == b"x" * 10


async def test_stream_gives_objects_of_any_length(scripted: ScriptedEngine, client: DockerClient) -> None:
    """Each line is one object, also one longer than a reader's buffer; empty lines are left out."""
    scripted.answer("GET events", (200, b'{"a": 1}\n\n{"b": "' + b"x" * 300_000 + b'"}\n{"cut'))
    assert [event async for event in client.stream("events")] == [{"a": 1}, {"b": "x" * 300_000}]


async def test_hanging_engine_does_not_hold_others(scripted: ScriptedEngine, client: DockerClient) -> None:
    """A call that hangs leaves other calls alone."""
    scripted.answer("GET slow", HANG)
    slow = asyncio.gather(*(client.call("GET", "slow") for _ in range(120)))
    await asyncio.sleep(0.05)
    assert await asyncio.wait_for(client.ping(), 2) == "Docker 20.10.24"
    slow.cancel()
    with pytest.raises(asyncio.CancelledError):
        await slow


async def test_close_is_idempotent(client: DockerClient) -> None:
    """Closing twice is fine."""
    await client.close()
    await client.close()


@pytest.mark.docker
async def test_relabel() -> None:
    """An image gets a name and more labels within the layers it has; what it says of itself stays, its history too."""
    name, other = (f"binderlet-test/label-{secrets.token_hex(6)}:1" for _ in range(2))
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        entry = tarfile.TarInfo("file")
        entry.size = 4
        archive.addfile(entry, io.BytesIO(b"text"))
    async with await open_docker(EngineSettings()) as client:
        made = {"fromSrc": "-", "repo": name, "changes": "LABEL a=b"}
        await client.docker._query_json("images/create", "POST", params=made, data=buffer.getvalue())
        try:
            before = await client.call("GET", f"images/{name}/json")
            await client.relabel(before["Id"], other, {"lock": '{"$x": 1}' * 5000})
            after = await client.call("GET", f"images/{other}/json")
            assert after["Config"]["Labels"] == {"a": "b", "lock": '{"$x": 1}' * 5000}
            assert {**after["Config"], "Labels": None} == {**before["Config"], "Labels": None}
            assert after["RootFS"] == before["RootFS"]
            assert len(await client.call("GET", f"images/{other}/history")) == 1
            with pytest.raises(DockerError):
                await client.relabel("sha256:" + "0" * 64, other, {})
        finally:
            for image in (name, other):
                await client.call("DELETE", f"images/{image}")
