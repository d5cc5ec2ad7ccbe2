"""Routers for tests: each in a folder and on a port of its own, ended afterwards."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from support.upstreams import free_port

from binderlet.config.schema import ServerSettings
from binderlet.router.haproxy import HAProxyRouter


def short_folder() -> Path:
    """Make a folder whose path leaves room for a socket's name."""
    return Path(tempfile.mkdtemp(prefix="bl-"))


def haproxy_router(state: Path, *, port: int = 0, **server: Any) -> HAProxyRouter:
    """Make a router on a free port of the loopback, not started."""
    settings = ServerSettings(host="127.0.0.1", port=port or free_port(), **server)
    return HAProxyRouter(settings, state, state / "run" / "control.sock")


@asynccontextmanager
async def running_haproxy(state: Path | None = None, **server: Any) -> AsyncIterator[HAProxyRouter]:
    """Run HAProxy until the block ends."""
    folder = state if state is not None else await asyncio.to_thread(short_folder)
    router = haproxy_router(folder, **server)
    try:
        await router.prepare()
        yield router
    finally:
        await router.shutdown()
        if state is None:
            await asyncio.to_thread(shutil.rmtree, folder)
