"""Runs a program in a pod, through the API server: its input, its output and how it ended, over one WebSocket.

No port of the pod is open for that, and nobody may who has no right to ``pods/exec``. The protocol is the one that all
versions share: a frame begins with the number of its stream. It cannot end the program's input alone.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import aiohttp

from binderlet.clients.kubernetes import KubernetesClient
from binderlet.errors import EngineUnavailable

PROTOCOL = "v4.channel.k8s.io"
STDIN, STDOUT, STDERR, STATUS = range(4)
LAST_WORDS = 2000
"""Bytes of what it wrote to its standard error that are kept."""
NOT_STARTED = -1


class Execution:
    """A program that runs in a pod."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket
        self._words = b""
        self.code: int | None = None
        """Its exit code once it has ended; ``NOT_STARTED`` where the node says why it did not run.

        None after ``output`` has ended means that the connection was lost.
        """
        self.reason = ""
        """What the cluster says of its end; empty where that was good."""

    @property
    def words(self) -> str:
        """The last that it wrote to its standard error."""
        return self._words.decode("utf-8", "replace").strip()

    async def send(self, data: bytes) -> None:
        """Write to its standard input.

        Raises:
            EngineUnavailable: the connection is lost.
        """
        try:
            await self._socket.send_bytes(bytes([STDIN]) + data)
        except (aiohttp.ClientError, OSError) as error:
            raise EngineUnavailable("The connection to a program in a pod was lost.") from error

    async def close(self) -> None:
        """End the connection, and the program's input with it; ``output`` ends, too."""
        await self._socket.close()

    async def output(self, silence: float) -> AsyncIterator[bytes]:
        """Give what it writes to its standard output, until it ends, the connection is lost or silent for so long."""
        while True:
            try:
                message = await self._socket.receive(timeout=silence)
            except (aiohttp.ClientError, OSError):  # TimeoutError, too
                return
            if message.type is not aiohttp.WSMsgType.BINARY:
                return  # closed, or broken
            stream, data = message.data[0], message.data[1:]
            if stream == STDOUT and data:
                yield data
            elif stream == STDERR:
                self._words = (self._words + data)[-LAST_WORDS:]
            elif stream == STATUS:
                self.code, self.reason = ended(data)


def ended(status: bytes) -> tuple[int, str]:
    """Read the status that the API sends at a program's end: its exit code, and why where that was not good."""
    try:
        body = json.loads(status)
        if body["status"] == "Success":
            return 0, ""
        causes = (body.get("details") or {}).get("causes") or ()
        codes = [int(cause["message"]) for cause in causes if cause.get("reason") == "ExitCode"]
        return (codes[0] if codes else NOT_STARTED), str(body.get("message", "")) or str(body.get("reason", ""))
    except (ValueError, KeyError, TypeError, AttributeError):
        return NOT_STARTED, status.decode("utf-8", "replace")


@asynccontextmanager
async def execute(
    client: KubernetesClient, pod: str, command: Sequence[str], *, container: str
) -> AsyncIterator[Execution]:
    """Run a program in a container while the context lasts; ``pod`` is the pod's path in the API.

    Leaving the context ends the connection, and the program's input with it.

    Raises:
        KubernetesError: the server refused.
    """
    params = [("container", container), ("stdin", "1"), ("stdout", "1"), ("stderr", "1")]
    socket = await client.connect(f"{pod}/exec", [*params, *(("command", word) for word in command)], PROTOCOL)
    transport: Any = getattr(socket._response.connection, "transport", None)  # noqa: SLF001 - aiohttp offers no other way
    try:
        yield Execution(socket)
    finally:
        await socket.close()
        with contextlib.suppress(AttributeError):  # it has gone by itself
            transport.abort()  # or a TLS connection would wait for the server's goodbye
