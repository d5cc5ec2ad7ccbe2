"""Routers for tests: each in a folder and on a port of its own, ended afterwards."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

from binderlet.config.schema import ServerSettings
from binderlet.router.config import Proxies
from binderlet.router.haproxy import HAProxyRouter
from support.upstreams import free_port


@contextmanager
def folder_for_sockets() -> Iterator[Path]:
    """Make a folder whose path leaves room for a socket's name, and remove it afterwards."""
    folder = tempfile.mkdtemp(prefix="bl-")
    try:
        yield Path(folder)
    finally:
        shutil.rmtree(folder)


def haproxy_router(state: Path, *, port: int = 0, proxies: Proxies | None = None, **server: str) -> HAProxyRouter:
    """Make a router on a free port of the loopback, not started."""
    settings = ServerSettings(host="127.0.0.1", port=port or free_port(), **server)
    return HAProxyRouter(settings, state, state / "run" / "control.sock", proxies=proxies)


@asynccontextmanager
async def running_haproxy(
    state: Path, *, port: int = 0, proxies: Proxies | None = None, **server: str
) -> AsyncIterator[HAProxyRouter]:
    """Run HAProxy until the block ends."""
    router = haproxy_router(state, port=port, proxies=proxies, **server)
    try:
        await router.prepare()
        yield router
    finally:
        await router.shutdown()
