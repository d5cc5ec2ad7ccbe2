"""Members of a federation on loopback ports: what a redirector asks of them, and nothing else."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from support.federation import VERSIONS
from support.loopback import LoopbackServer, Request


@dataclass
class State:
    """What a member says; a test may change it while it runs."""

    quota: int | None = None
    total: int = 0
    status: int = 200
    checks: list[dict[str, Any]] = field(default_factory=list)
    versions: dict[str, Any] | None = field(default_factory=lambda: dict(VERSIONS))
    told: dict[str, Any] = field(default_factory=dict)
    gone: bool = False
    """Every connection is closed without a word."""
    images: list[str] = field(default_factory=list)


class FakeMember(LoopbackServer):
    """Answers ``/health``, ``/versions``, launches and pages, and remembers what it was asked."""

    def __init__(self, name: str = "member") -> None:
        self.name = name
        self.state = State()
        self.asked: list[tuple[str, dict[str, str]]] = []
        super().__init__()

    def paths(self) -> list[str]:
        """The paths it was asked for."""
        return [path for path, _ in self.asked]

    def answer(self, request: Request) -> None:
        """Answer one request."""
        path, state = request.path, self.state
        if state.gone:
            request.connection.close()
            raise BrokenPipeError
        self.asked.append((path, {name.lower(): value for name, value in request.headers.items()}))
        if path == "/health":
            pods = {"service": "Pod quota", "total_pods": state.total, "quota": state.quota, "ok": True}
            body = {"ok": True, "checks": [*state.checks, pods], "federation": state.told}
            request.reply(state.status, json.dumps(body).encode())
        elif path == "/versions" and state.versions is not None:
            request.reply(200, json.dumps(state.versions).encode())
        elif path == "/api/federation/images" and state.images:
            request.reply(200, json.dumps({"repositories": state.images}).encode())
        elif path == "/to-itself":
            request.reply(302, b"", Location=f"{self.base}/page")
        elif path == "/private":
            request.reply(200, b"secret", Cache_Control="no-store")
        elif path.startswith("/page"):
            request.reply(200, f"page of {self.name}".encode(), Content_Type="text/plain")
        elif path == "/broken":
            request.reply(502, b"gateway")
        elif path == "/huge":
            request.reply(200, b"x" * (5 * 1024 * 1024))
        else:
            request.reply(404, b"nothing")


@asynccontextmanager
async def silent() -> AsyncIterator[str]:
    """Give the address of a server that takes connections and never says a word."""
    held: list[asyncio.StreamWriter] = []
    server = await asyncio.start_server(lambda _reader, writer: held.append(writer), "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        for writer in held:
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()
        server.close()
        await server.wait_closed()


def raw(port: int, request: bytes, *, until: int = 1) -> bytes:
    """Send bytes as they are and give what comes back, until so many answers have ended or the other side closes."""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as client:
        client.sendall(request)
        found = b""
        while found.count(b"\r\n\r\n") < until:
            part = client.recv(65536)
            if not part:
                break
            found += part
    return found
