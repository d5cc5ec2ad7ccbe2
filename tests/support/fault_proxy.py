"""An HTTP proxy on loopback that does to what passes what networks and storages do on bad days."""

from __future__ import annotations

import asyncio
import io
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import aiohttp
from aiohttp import web
from yarl import URL

CHUNK = 16384


@dataclass(frozen=True)
class Slow:
    """Bodies come at so many bytes a second."""

    rate: int


@dataclass(frozen=True)
class Reset:
    """The connection breaks after so many bytes of the answer's body; -1: before any answer."""

    after: int = -1


@dataclass(frozen=True)
class Answer:
    """The storage says this instead."""

    status: int
    body: str = ""


@dataclass(frozen=True)
class Corrupt:
    """One byte in the middle of an answer of at least so many bytes is another."""

    at_least: int = 50_000


Fault = Slow | Reset | Answer | Corrupt


def s3_error(status: int, code: str, message: str = "Injected.") -> Answer:
    """Give an error as S3 writes it."""
    return Answer(status, f'<?xml version="1.0"?><Error><Code>{code}</Code><Message>{message}</Message></Error>')


SERVICE_UNAVAILABLE = s3_error(503, "ServiceUnavailable")
FULL = s3_error(403, "QuotaExceeded", "The bucket's quota is used up.")
EXPIRED = s3_error(403, "ExpiredToken", "The provided token has expired.")
SKEWED = s3_error(403, "RequestTimeTooSkewed", "The difference between the request time and the server's is too large.")


class FaultProxy:
    """Passes requests on to ``target``, which may speak TLS; ``fault`` holds for those that ``only`` lets through."""

    def __init__(self, target: str, ca_bundle: Path) -> None:
        self._target = target.rstrip("/")
        self._ca_bundle = ca_bundle
        self.fault: Fault | None = None
        self.only: Callable[[web.BaseRequest], bool] = lambda _: True
        self.times = -1
        """How often the fault still happens; negative: always."""
        self.hits = 0
        """How often it has."""
        self.url = ""

    def inject(self, fault: Fault | None, *, only: str = "", times: int = -1) -> None:
        """Let a fault happen from now on, to requests of these methods (``GET``, ``PUT POST``) or to all."""
        methods = set(only.split())
        self.fault, self.times, self.hits = fault, times, 0
        self.only = lambda request: not methods or request.method in methods

    async def __aenter__(self) -> Self:
        trust = ssl.create_default_context(cafile=str(self._ca_bundle))
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(ssl=trust), auto_decompress=False, timeout=aiohttp.ClientTimeout(total=None)
        )
        self._runner = web.ServerRunner(web.Server(self._serve), access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}/"
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._runner.cleanup()
        await self._session.close()

    def _strikes(self, request: web.BaseRequest) -> Fault | None:
        if self.fault is None or self.times == 0 or not self.only(request):
            return None
        self.times -= 1
        self.hits += 1
        return self.fault

    async def _serve(self, request: web.BaseRequest) -> web.StreamResponse:
        fault = self._strikes(request)
        body = b"".join([chunk async for chunk in _paced(request.content, fault)])
        if isinstance(fault, Answer):
            return web.Response(status=fault.status, text=fault.body, content_type="application/xml")
        if fault == Reset():
            _break(request)
            return web.Response(status=500)
        headers = [(name, value) for name, value in request.headers.items() if name.lower() != "transfer-encoding"]
        url = self._target + request.raw_path
        async with self._session.request(
            request.method,
            URL(url, encoded=True),
            headers=headers,
            data=io.BytesIO(body) if body else None,
            allow_redirects=False,
        ) as answer:
            return await self._pass_back(request, answer, fault)

    async def _pass_back(
        self, request: web.BaseRequest, answer: aiohttp.ClientResponse, fault: Fault | None
    ) -> web.StreamResponse:
        response = web.StreamResponse(status=answer.status, reason=answer.reason)
        for name, value in answer.headers.items():
            if name.lower() not in {"transfer-encoding", "connection"}:
                response.headers.add(name, value)
        await response.prepare(request)
        if request.method == "HEAD":
            return response
        sent, middle = 0, int(answer.headers.get("Content-Length", "0")) // 2
        async for chunk in _paced(answer.content, fault):
            piece = bytearray(chunk)
            if isinstance(fault, Corrupt) and middle * 2 >= fault.at_least and sent <= middle < sent + len(piece):
                piece[middle - sent] ^= 1
            sent += len(piece)
            await response.write(bytes(piece))
            if isinstance(fault, Reset) and sent >= fault.after:
                _break(request)
                return response
        await response.write_eof()
        return response


async def _paced(content: aiohttp.StreamReader, fault: Fault | None) -> AsyncIterator[bytes]:
    async for chunk in content.iter_chunked(CHUNK):
        if isinstance(fault, Slow):
            await asyncio.sleep(len(chunk) / fault.rate)
        yield chunk


def _break(request: web.BaseRequest) -> None:
    transport = request.transport
    if isinstance(transport, asyncio.Transport):
        transport.abort()


@asynccontextmanager
async def fault_proxy(target: str, ca_bundle: Path) -> AsyncIterator[FaultProxy]:
    """Run one in front of a server."""
    async with FaultProxy(target, ca_bundle) as proxy:
        yield proxy
