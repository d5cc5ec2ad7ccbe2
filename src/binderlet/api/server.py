"""Serves an ASGI application on a unix socket, leaving signals to whoever started it."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Iterator
from pathlib import Path

import uvicorn
from starlette.types import ASGIApp

from binderlet.tasks import Tasks

BACKLOG = 2048
"""Connections that may wait to be accepted: a burst of visitors is not refused."""


class _Server(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals alone: the service has several servers and one way to stop."""
        yield


class UnixServer:
    """One application on one unix socket.

    The socket replaces whatever file an earlier process left at its path; ``mode`` says who may connect.
    """

    def __init__(self, app: ASGIApp, path: Path, *, mode: int, shutdown_timeout: float) -> None:
        self._path = path
        self._mode = mode
        self._socket: socket.socket | None = None
        self._serving: asyncio.Task[None] | None = None
        self._server = _Server(
            uvicorn.Config(
                app,
                loop="none",
                http="httptools",
                ws="none",
                lifespan="off",
                access_log=False,
                log_config=None,
                # HAProxy alone reaches the socket, and it sets these headers itself.
                proxy_headers=False,
                server_header=False,
                timeout_graceful_shutdown=max(1, round(shutdown_timeout)),
            )
        )

    async def start(self, tasks: Tasks) -> None:
        """Listen, and answer requests from now on."""
        self._socket = await asyncio.to_thread(_listen, self._path, self._mode)
        self._serving = tasks.start(self._server.serve(sockets=[self._socket]), name=f"server {self._path.name}")

    async def stop(self) -> None:
        """Accept nothing more, finish what is open within the shutdown timeout, take the file away. Idempotent."""
        if self._serving is None:
            return
        self._server.should_exit = True
        await asyncio.wait({self._serving})
        if self._socket is not None:
            self._socket.close()
        await asyncio.to_thread(self._path.unlink, missing_ok=True)


def _listen(path: Path, mode: int) -> socket.socket:
    path.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(str(path))
    path.chmod(mode)
    listener.listen(BACKLOG)
    listener.setblocking(False)
    return listener
