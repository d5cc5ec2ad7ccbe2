"""The HTTP applications on their sockets: one that HAProxy leads visitors to, one for the operator."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable
from pathlib import Path

from binderlet.api.ports import Services
from binderlet.api.routes import create_admin_app, create_app
from binderlet.api.server import UnixServer
from binderlet.api.timing import Observe, Timing
from binderlet.config.schema import ServerSettings
from binderlet.tasks import Tasks


class Front:
    """Serves both applications; ``start``, then ``stop``; each once."""

    def __init__(self, services: Services, folder: Path, observe: Observe) -> None:
        timeout = services.settings.server.shutdown_timeout
        control, admin = create_app(services), create_admin_app(services)
        self._close_streams: list[Callable[[], None]] = [control.state.streams.close, admin.state.streams.close]
        # HAProxy runs as a user of its own and connects to the one; the other is for this user alone.
        self._servers = [
            UnixServer(Timing(control, observe), folder / "control.sock", mode=0o666, shutdown_timeout=timeout),
            UnixServer(admin, folder / "admin.sock", mode=0o600, shutdown_timeout=timeout),
        ]

    async def start(self, tasks: Tasks) -> None:
        """Listen, with tasks of this owner."""
        for server in self._servers:
            await server.start(tasks)

    async def stop(self) -> None:
        """End the streams of events, then the answers that are under way, then the sockets."""
        for close in self._close_streams:
            close()
        await asyncio.gather(*(server.stop() for server in self._servers))


def visitors_url(server: ServerSettings) -> str:
    """Give where visitors reach the service, with trailing slash."""
    if server.public_url:
        return server.public_url.rstrip("/") + "/"
    host = "localhost" if server.host in {"0.0.0.0", "::", "127.0.0.1"} else server.host  # noqa: S104 - compared
    return f"http://{host}:{server.port}/"


def keep_secret(path: Path) -> str:
    """Give the secret in the file; made, readable by us alone, where there is none."""
    if not path.exists():
        path.touch(mode=0o600)
        path.write_text(secrets.token_hex(32))
    return path.read_text().strip()
