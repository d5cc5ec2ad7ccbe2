"""What the operator does to sessions."""

from __future__ import annotations

import asyncio
from pathlib import Path

import aiohttp
import pytest

from support.app import ask, launch, served, settings
from support.gitserver import make_repository

pytestmark = pytest.mark.haproxy


async def test_the_operator_lists_extends_and_stops(tmp_path: Path) -> None:
    """A session is listed, is let to stay longer, and is gone once it is stopped."""
    state = tmp_path / "s"
    await asyncio.to_thread(make_repository, tmp_path / "git" / "repo", {"README.md": "Hello"})
    async with served(settings(state)) as handle, aiohttp.ClientSession() as session:
        await launch(session, handle.url, f"file://{tmp_path}/git/repo")
        _, sessions = await ask(state, "GET", "/sessions")
        assert isinstance(sessions, list)
        name = sessions[0]["id"]
        assert (await ask(state, "POST", f"/sessions/{name}/extend?seconds=600"))[0] == 200
        assert (await ask(state, "DELETE", f"/sessions/{name}"))[0] == 204
        assert await ask(state, "GET", "/sessions") == (200, [])
