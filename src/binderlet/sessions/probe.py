"""Asks a session over HTTP, on its own address and past the router. Its answers come from strangers' code."""

from __future__ import annotations

import asyncio
import json
import socket
from typing import Any, Self
from urllib.parse import urljoin, urlsplit

import aiohttp

from binderlet.model import Session
from binderlet.sessions.command import base_path

CONNECT_TIMEOUT = 1.0
ANSWER_TIMEOUT = 5.0
REDIRECTS = 5
LARGEST_ANSWER = 256 * 1024
REDIRECT_STATUS = {301, 302, 303, 307, 308}


class Probe:
    """Asks sessions; one for all of them."""

    def __init__(self, *, timeout: float = ANSWER_TIMEOUT) -> None:
        self._timeout = aiohttp.ClientTimeout(total=timeout, connect=CONNECT_TIMEOUT)
        self._client: aiohttp.ClientSession | None = None

    async def why_not_ready(self, session: Session) -> str:
        """Give an empty string once a visitor would get HTTP 200, else what is wrong, as the end of a sentence.

        A Jupyter server is asked with its token; of any other server its base path is, following its redirects.
        """
        if not session.address:
            return "it has no address"
        if not await connects(session.address):
            return "nothing listens on its port"
        base = f"http://{session.address}{base_path(session.id)}"
        try:
            status = await self._status(f"{base}api/status?no_track_activity=1", session.token)
            if status == 404:  # noqa: PLR2004 - not a Jupyter server
                status = await self._status(base, session.token)
        except (aiohttp.ClientError, TimeoutError) as error:
            return f"it does not answer: {str(error) or type(error).__name__}"
        return "" if status == 200 else f"it answered with HTTP status {status}"  # noqa: PLR2004

    async def is_busy(self, session: Session) -> bool:
        """Whether a kernel of the session computes right now; False where that cannot be known."""
        url = f"http://{session.address}{base_path(session.id)}api/kernels?no_track_activity=1"
        try:
            async with self._get(url, session.token) as response:
                kernels = await _read_json(response)
        except (aiohttp.ClientError, TimeoutError, ValueError, RecursionError):
            return False
        if not isinstance(kernels, list):
            return False
        return any(isinstance(kernel, dict) and kernel.get("execution_state") == "busy" for kernel in kernels)

    async def close(self) -> None:
        """Close connections. Idempotent."""
        if self._client is not None:
            await self._client.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def _status(self, url: str, token: str) -> int:
        """Give the status that a URL ends at; redirects to other hosts are not followed."""
        for _ in range(REDIRECTS):
            async with self._get(url, token) as response:
                location = response.headers.get("Location", "")
                if response.status not in REDIRECT_STATUS or not location:
                    return response.status
            target = urljoin(url, location)
            if urlsplit(target)[:2] != urlsplit(url)[:2]:
                return response.status
            url = target
        return response.status

    def _get(self, url: str, token: str) -> aiohttp.client._RequestContextManager:
        if self._client is None:
            # A connection per question: a pooled one could belong to a session that is gone.
            connector = aiohttp.TCPConnector(force_close=True, limit=0)
            self._client = aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar())
        headers = {"Authorization": f"token {token}"}
        return self._client.get(url, headers=headers, allow_redirects=False, timeout=self._timeout)


async def _read_json(response: aiohttp.ClientResponse) -> Any:  # noqa: ANN401 - whatever a stranger sends
    body = await response.content.read(LARGEST_ANSWER)
    return json.loads(body) if response.status == 200 else None  # noqa: PLR2004


async def connects(address: str, timeout: float = CONNECT_TIMEOUT) -> bool:  # noqa: ASYNC109 - of this one system call
    """Whether something listens there; costs a tenth of an HTTP request, so it can be asked often."""
    host, _, port = address.rpartition(":")
    host = host.strip("[]")
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as connection:
        connection.setblocking(False)
        connecting = asyncio.get_running_loop().sock_connect(connection, (host, int(port)))
        try:
            async with asyncio.timeout(timeout):
                # A refusal is the ordinary answer here, so it comes as a value.
                (error,) = await asyncio.gather(connecting, return_exceptions=True)
        except TimeoutError:
            return False
    return error is None
