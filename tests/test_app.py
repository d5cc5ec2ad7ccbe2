"""The composed service, with fake sessions behind a real HAProxy."""

from __future__ import annotations

import asyncio
import json
import stat
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import aiohttp
import pytest

from binderlet import app
from binderlet.app import Handle, keep_secret, make_providers, serve, visitors_url
from binderlet.config import Settings
from binderlet.config.network import NetworkEnvironment
from binderlet.config.schema import ServerSettings
from binderlet.errors import AlreadyRunning, ConfigError, EngineUnavailable
from binderlet.tasks import Tasks
from support.gitserver import make_repository
from support.service import free_port, git_spec

pytestmark = pytest.mark.haproxy


def settings(state: Path, **sections: object) -> Settings:
    """Settings of a service with fake sessions and files of its own."""
    mine: dict[str, object] = {
        "server": {"host": "127.0.0.1", "port": free_port(), "instance": f"t{uuid4().hex[:8]}"},
        "engine": {"kind": "fake"},
        "paths": {"state": state},
        "providers": {"git": {"local_folders": [state.parent / "git"]}},
        "builder": {"min_free_disk": 0},
    }
    return Settings.model_validate(mine | sections)


@asynccontextmanager
async def served(wanted: Settings, steps: list[str] | None = None) -> AsyncIterator[Handle]:
    """Run the service; cancelled at the end, unless it has ended by itself."""
    ready: asyncio.Future[Handle] = asyncio.get_running_loop().create_future()
    async with Tasks("test") as tasks:
        running = tasks.start(serve(wanted, ready.set_result, (steps if steps is not None else []).append), name="app")
        waited: set[asyncio.Future[Any]] = {running, ready}
        await asyncio.wait(waited, return_when=asyncio.FIRST_COMPLETED)
        if running.done():
            running.result()
        try:
            yield await ready
        finally:
            running.cancel()
            await asyncio.wait({running})


async def launch(session: aiohttp.ClientSession, base: str, url: str) -> dict[str, str]:
    """Launch a repository and give the last event."""
    last: dict[str, str] = {}
    headers = {"Accept": "text/event-stream"}
    async with session.get(f"{base}build/{git_spec(url)}", headers=headers) as answer:
        async for line in answer.content:
            if line.startswith(b"data:"):
                last = json.loads(line[5:])
                if last.get("phase") in {"ready", "failed"}:
                    return last
    return last


async def ask(state: Path, method: str, path: str) -> tuple[int, object]:
    """Ask the operator's socket."""
    async with (
        aiohttp.ClientSession(connector=aiohttp.UnixConnector(str(state / "run" / "admin.sock"))) as session,
        session.request(method, f"http://localhost{path}") as answer,
    ):
        return answer.status, await answer.json() if answer.content_type == "application/json" else None


async def test_a_launch_through_all_parts(tmp_path: Path) -> None:
    """A repository is launched through HAProxy, seen by the operator, stopped, and put on record."""
    state, steps = tmp_path / "s", list[str]()
    await asyncio.to_thread(make_repository, tmp_path / "git" / "repo", {"README.md": "Hello"})
    async with served(settings(state), steps) as handle, aiohttp.ClientSession() as session:
        event = await launch(session, handle.url, f"file://{tmp_path}/git/repo")
        assert event["phase"] == "ready", event
        async with session.get(event["url"]) as answer:
            assert answer.status == 200
        _, sessions = await ask(state, "GET", "/sessions")
        assert isinstance(sessions, list)
        (shown,) = sessions
        assert event["url"].endswith(f"/user/{shown['id']}/")
        _, builds = await ask(state, "GET", "/builds")
        assert isinstance(builds, list)
        assert (await ask(state, "DELETE", f"/sessions/{shown['id']}"))[0] == 204
        assert (await ask(state, "DELETE", "/sessions/nope"))[0] == 404
        async with session.get(event["url"]) as answer:
            assert answer.status == 424
        async with session.get(f"{handle.url}metrics") as answer:
            assert "binderhub_launch_count_total{" in await answer.text()
        async with session.get(f"{handle.url}health") as answer:
            assert answer.status == 200
    assert "Starting HAProxy" in steps
    assert (state / "history.sqlite").exists()
    assert not (state / "run" / "control.sock").exists()


async def test_the_operator_ends_the_service(tmp_path: Path) -> None:
    """A shutdown by the operator ends the service and its data path."""
    wanted = settings(tmp_path / "s")
    async with served(wanted) as handle:
        assert (await ask(tmp_path / "s", "POST", "/shutdown"))[0] == 202
        async with asyncio.timeout(10), aiohttp.ClientSession() as session:
            while True:
                try:
                    async with session.get(f"{handle.url}health"):
                        await asyncio.sleep(0.02)
                except aiohttp.ClientError:
                    break


async def test_leaving_keeps_the_data_path(tmp_path: Path) -> None:
    """The control plane can end alone: HAProxy goes on, and the next control plane takes it over."""
    wanted = settings(tmp_path / "s")
    async with served(wanted) as handle:
        handle.leave()
        await asyncio.sleep(0.3)
        async with aiohttp.ClientSession() as session, session.get(f"{handle.url}health") as answer:
            assert answer.status == 503
    async with (
        served(wanted) as handle,
        aiohttp.ClientSession() as session,
        session.get(f"{handle.url}health") as answer,
    ):
        assert answer.status == 200


async def test_a_second_of_the_same_name_is_refused(tmp_path: Path) -> None:
    """Two control planes of one name cannot run; the second says so and touches nothing."""
    wanted = settings(tmp_path / "s")
    async with served(wanted):
        with pytest.raises(AlreadyRunning):
            await serve(wanted, lambda _: None, lambda _: None)


async def test_a_start_that_fails_ends_only_what_it_began(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A data path that an earlier control plane left goes on; one that the failed start began is ended."""
    wanted = settings(tmp_path / "s")
    url = visitors_url(wanted.server)

    async def broken(_: object) -> None:
        raise EngineUnavailable("Gone.")

    async def fail_to_start() -> None:
        with monkeypatch.context() as patch:
            patch.setattr(app.Service, "_listen", broken)
            with pytest.raises(EngineUnavailable):
                await serve(wanted, lambda _: None, lambda _: None)

    async with aiohttp.ClientSession() as session:
        await fail_to_start()
        with pytest.raises(aiohttp.ClientConnectionError):
            await session.get(f"{url}health")
        async with served(wanted) as handle:
            handle.leave()
            await asyncio.sleep(0.3)
            await fail_to_start()
            async with session.get(f"{url}health") as answer:
                assert answer.status == 503
        async with served(wanted), session.get(f"{url}health") as answer:
            assert answer.status == 200


async def test_a_state_folder_that_cannot_be_written(tmp_path: Path) -> None:
    """It ends the start with a sentence that names the setting and the folder."""
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match=r"paths\.state: .*/file/s cannot be written"):
        await serve(settings(tmp_path / "file" / "s"), lambda _: None, lambda _: None)


async def test_without_an_engine_the_start_says_so(tmp_path: Path) -> None:
    """A start without a container engine fails with one clear error, and lets go of everything."""
    wanted = settings(tmp_path / "s", engine={"kind": "docker", "socket": str(tmp_path / "none.sock")})
    for _ in range(2):
        with pytest.raises(EngineUnavailable, match=r"none\.sock"):
            await serve(wanted, lambda _: None, lambda _: None)


@pytest.mark.parametrize(
    ("server", "url"),
    [
        ({"public_url": "https://b.example.org"}, "https://b.example.org/"),
        ({"host": "0.0.0.0", "port": 1234}, "http://localhost:1234/"),
        ({"host": "192.0.2.7", "port": 1234}, "http://192.0.2.7:1234/"),
    ],
)
def test_the_url_is_what_visitors_type(server: dict[str, object], url: str) -> None:
    """The public URL wins; an address that means all is shown as localhost."""
    assert visitors_url(ServerSettings.model_validate(server)) == url


def test_providers_can_be_switched_off(tmp_path: Path) -> None:
    """Only the repo providers that are enabled are offered."""
    assert list(make_providers(Settings(), NetworkEnvironment(), tmp_path)) == ["gh", "git"]
    off = Settings.model_validate({"providers": {"gh": {"enabled": False}, "git": {"enabled": False}}})
    assert make_providers(off, NetworkEnvironment(), tmp_path) == {}


def test_the_secret_is_kept_for_ourselves(tmp_path: Path) -> None:
    """The build token secret is made once, and nobody else on the machine can read it."""
    path = tmp_path / "secret"
    first = keep_secret(path)
    assert keep_secret(path) == first
    assert len(bytes.fromhex(first)) == 32
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.docker
async def test_the_real_machinery_says_what_it_is(tmp_path: Path) -> None:
    """With a real engine the service says which engine and build tool it uses."""
    machinery = await app._real_machinery(Settings(), NetworkEnvironment(), tmp_path)
    assert "BuildKit" in machinery.description or "podman" in machinery.description
    await machinery.close()
    await machinery.engine.close()
