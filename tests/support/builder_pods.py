"""An API server in this process that knows builder pods alone, and runs what the test says in them."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from binderlet.builder.cluster.messages import Message, Order, decode_order, encode
from binderlet.clients.kubernetes import KubernetesClient
from binderlet.clients.kubernetes_access import Access

STDOUT, STDERR, STATUS = 1, 2, 3
GOOD = b'{"status": "Success"}'


class Conversation:
    """A program that was started in a pod, from its own side."""

    def __init__(self, pod: str, command: list[str], socket: web.WebSocketResponse) -> None:
        self.pod = pod
        self.command = command
        self._socket = socket
        self._input = b""

    async def _more(self) -> None:
        message = await self._socket.receive()
        if not isinstance(message.data, bytes):
            raise asyncio.IncompleteReadError(b"", None)
        assert message.data[0] == 0
        self._input += message.data[1:]

    async def frame(self) -> bytes:
        """Read one frame of its input; raises ``IncompleteReadError`` at the end of it."""
        while len(self._input) < 4 or len(self._input) < 4 + int.from_bytes(self._input[:4], "big"):
            await self._more()
        size = 4 + int.from_bytes(self._input[:4], "big")
        found, self._input = self._input[4:size], self._input[size:]
        return found

    async def order(self) -> tuple[Order, bytes]:
        """Read the order and the checkout's archive."""
        order, archive = decode_order(await self.frame()), b""
        while piece := await self.frame():
            archive += piece
        return order, archive

    async def say(self, *messages: Message | bytes) -> None:
        """Write to its standard output."""
        for message in messages:
            data = message if isinstance(message, bytes) else encode(message)
            await self._socket.send_bytes(bytes([STDOUT]) + data)

    async def complain(self, words: str) -> None:
        """Write to its standard error."""
        await self._socket.send_bytes(bytes([STDERR]) + words.encode())

    async def end(self, code: int = 0, *, status: bytes = b"") -> None:
        """End with an exit code."""
        failed = {
            "status": "Failure",
            "message": f"command terminated with exit code {code}",
            "details": {"causes": [{"reason": "ExitCode", "message": str(code)}]},
        }
        body = status or (GOOD if code == 0 else json.dumps(failed).encode())
        await self._socket.send_bytes(bytes([STATUS]) + body)


Script = Callable[[Conversation], Awaitable[None]]


@dataclass
class BuilderPods:
    """The server; its attributes may change at any time."""

    script: Script
    """What each program that is started does."""
    ready: dict[str, bool] = field(default_factory=lambda: {"b-0": True})
    restarts: dict[str, int] = field(default_factory=dict)
    refuse: int = 0
    """A status with which starting a program is refused, while set."""
    away: bool = False
    """Whether pods cannot be listed."""
    started: list[str] = field(default_factory=list)
    """The pods in which programs were started, in order."""
    selectors: set[str] = field(default_factory=set)

    async def list(self, request: web.Request) -> web.Response:
        """Give the pods."""
        if self.away:
            return web.Response(status=500)
        self.selectors.add(request.query["labelSelector"])
        return web.json_response({"metadata": {}, "items": [self._item(name) for name in self.ready]})

    def _item(self, name: str) -> dict[str, Any]:
        status = "True" if self.ready[name] else "False"
        containers = [{"name": "builder", "restartCount": self.restarts.get(name, 0)}]
        return {
            "metadata": {"name": name, "uid": f"uid of {name}"},
            "status": {"conditions": [{"type": "Ready", "status": status}], "containerStatuses": containers},
        }

    async def execute(self, request: web.Request) -> web.StreamResponse:
        """Start a program."""
        pod = request.match_info["pod"]
        if self.refuse or pod not in self.ready:
            return web.Response(status=self.refuse or 404)
        socket = web.WebSocketResponse(protocols=("v4.channel.k8s.io",), max_msg_size=0)
        await socket.prepare(request)
        self.started.append(pod)
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            await self.script(Conversation(pod, request.query.getall("command"), socket))
        await socket.close()
        return socket


@asynccontextmanager
async def builder_pods(script: Script) -> AsyncIterator[tuple[BuilderPods, KubernetesClient]]:
    """Serve it, and give a client for it, which is closed with it."""
    pods = BuilderPods(script)
    app = web.Application()
    app.router.add_get("/api/v1/namespaces/builds/pods", pods.list)
    app.router.add_get("/api/v1/namespaces/builds/pods/{pod}/exec", pods.execute)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    client = KubernetesClient(Access(f"http://127.0.0.1:{runner.addresses[0][1]}", "builds", None))
    try:
        yield pods, client
    finally:
        await client.close()
        await runner.cleanup()
