"""The whole service in the test's own process, with fake sessions."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import aiohttp

from binderlet.app.run import Handle, serve
from binderlet.config import Settings
from binderlet.tasks import Tasks
from support.service import free_port, git_spec


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
