"""All parts together."""

from __future__ import annotations

import asyncio
from pathlib import Path

import aiohttp
import pytest

from binderlet.app.front import visitors_url
from binderlet.app.run import serve
from binderlet.app.service import Service
from binderlet.errors import EngineUnavailable
from support.app import ask, launch, served, settings
from support.gitserver import make_repository

pytestmark = pytest.mark.haproxy


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


async def test_a_start_that_fails_ends_only_what_it_began(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A data path that an earlier control plane left goes on; one that the failed start began is ended."""
    wanted = settings(tmp_path / "s")
    url = visitors_url(wanted.server)

    async def broken(_: object) -> None:
        raise EngineUnavailable("Gone.")

    async def fail_to_start() -> None:
        with monkeypatch.context() as patch:
            patch.setattr(Service, "_listen", broken)
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


async def test_pods_that_build_hold_up_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where builder pods are away for long the service serves all the same: images that exist need none of them."""

    async def never(*_: object) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr("binderlet.builder.fake.FakeBuilder.prepare", never)
    wanted = settings(tmp_path / "s", builder_pods={"namespace": "builds"})
    async with (
        served(wanted) as handle,
        aiohttp.ClientSession() as session,
        session.get(f"{handle.url}health") as answer,
    ):
        assert answer.status == 200
