"""What the service looks like."""

from __future__ import annotations

import asyncio
from pathlib import Path

import aiohttp
import pytest

from support.app import ask, launch, served, settings
from support.gitserver import make_repository

pytestmark = pytest.mark.haproxy


async def test_what_runs_is_in_view(tmp_path: Path) -> None:
    """A launched session is counted in the status and listed with its link."""
    state = tmp_path / "s"
    await asyncio.to_thread(make_repository, tmp_path / "git" / "repo", {"README.md": "Hello"})
    async with served(settings(state)) as handle, aiohttp.ClientSession() as session:
        event = await launch(session, handle.url, f"file://{tmp_path}/git/repo")
        async with session.get(f"{handle.url}api/status") as answer:
            assert (await answer.json())["sessions"] == 1
        _, sessions = await ask(state, "GET", "/sessions")
        assert isinstance(sessions, list)
        assert sessions[0]["url"] == event["url"]
