"""Serves an ASGI application on a unix socket, leaving signals to whoever started it."""

from __future__ import annotations

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
        self._socket = _listen(path, mode)
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

    def start(self, tasks: Tasks) -> None:
        """Answer requests from now on."""
        tasks.start(self._server.serve(sockets=[self._socket]), name=f"server {self._path.name}")

    def stop(self) -> None:
        """Finish what is open and accept nothing more; the task ends by itself."""
        self._server.should_exit = True

    def remove(self) -> None:
        """Take the socket's file away."""
        self._socket.close()
        self._path.unlink(missing_ok=True)


def _listen(path: Path, mode: int) -> socket.socket:
    path.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(str(path))
    path.chmod(mode)
    listener.listen(BACKLOG)
    listener.setblocking(False)
    return listener
