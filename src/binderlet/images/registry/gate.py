"""The engine's way to every registry: an HTTP service on loopback that passes its calls on.

The engine pushes to and pulls from ``127.0.0.1:<port>/<key>/...``, where ``key`` names a registry. So the engine
needs no credentials, no certificates and no settings; pushing is paced; and what is moved is counted. Calls need a
password that only this process knows. A blob is passed on as it comes and never held.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hmac
import logging
import re
import secrets
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import parse_qsl, quote, urlencode, urljoin, urlsplit

import aiohttp
from aiohttp import web

from binderlet.clients.oci import OciClient
from binderlet.errors import BinderletError, StorageFull, StorageRefused
from binderlet.images.registry.throttle import Throttle

HOST = "127.0.0.1"
USER = "binderlet"
CHUNK = 2**18
PASSED_ON = ("Accept", "Content-Type", "Content-Range", "Range", "Content-Length")
PASSED_BACK = (
    "Content-Type",
    "Content-Length",
    "Content-Range",
    "Docker-Content-Digest",
    "Docker-Upload-UUID",
    "Docker-Distribution-API-Version",
    "Range",
    "ETag",
    "OCI-Subject",
)
PATH = re.compile(r"/v2/(?P<key>[a-z0-9]+)/(?P<rest>.+)")
TO = "binderlet-to"
"""The query parameter that keeps where an upload really goes."""


@dataclass(slots=True)
class Upstream:
    """One registry behind the gate."""

    client: OciClient
    folder: str = ""
    """Put before repositories' names; ends in a slash, or is empty."""
    throttle: Throttle | None = None
    """Paces what is sent; without one nothing may be sent."""
    received: int = 0
    """Bytes passed on to the engine."""


@dataclass(slots=True)
class Gate:
    """Serves the registries in ``upstreams``; ``start``, then ``close``."""

    upstreams: Mapping[str, Upstream]
    port_file: Path
    """Keeps the port over restarts: the engine remembers what it pushed by the registry's name."""
    port: int = 0
    password: str = field(default_factory=lambda: secrets.token_hex(16), repr=False)
    _runner: web.AppRunner | None = None

    @property
    def address(self) -> str:
        """What the names of images that the engine pushes or pulls begin with: ``127.0.0.1:4711``."""
        return f"{HOST}:{self.port}"

    @property
    def login(self) -> str:
        """The value of ``X-Registry-Auth`` for the engine."""
        text = f'{{"username": "{USER}", "password": "{self.password}", "serveraddress": "{self.address}"}}'
        return base64.urlsafe_b64encode(text.encode()).decode()

    async def start(self) -> None:
        """Listen, on the port of the last time if nobody took it since."""
        # The engine tries TLS first: that is no error, nor is its hanging up when a pull is given up.
        logger = logging.getLogger("binderlet.gate")
        logger.setLevel(logging.CRITICAL)
        app = web.Application(client_max_size=0, logger=logger)
        app.router.add_route("*", "/{path:.*}", self._serve)
        self._runner = web.AppRunner(
            app, access_log=None, logger=logger, auto_decompress=False, handler_cancellation=True, shutdown_timeout=1.0
        )
        await self._runner.setup()
        before = await asyncio.to_thread(_read_port, self.port_file)
        try:
            await self._listen(before)
        except OSError:
            await self._listen(0)
        await asyncio.to_thread(_write_port, self.port_file, self.port)

    async def _listen(self, port: int) -> None:
        assert self._runner is not None  # noqa: S101 - start() made it
        await web.TCPSite(self._runner, HOST, port).start()
        self.port = int(self._runner.addresses[0][1])

    async def close(self) -> None:
        """Stop listening; what is under way is cut. Idempotent."""
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        if not self._is_let_in(request.headers.get("Authorization", "")):
            return _refusal(401, "UNAUTHORIZED", "no", {"WWW-Authenticate": 'Basic realm="binderlet"'})
        if request.path == "/v2/":
            return web.json_response({}, headers={"Docker-Distribution-API-Version": "registry/2.0"})
        found = PATH.fullmatch(request.path)
        upstream = self.upstreams.get(found["key"]) if found else None
        if found is None or upstream is None:
            return _refusal(404, "NAME_UNKNOWN", f"{request.path} is not behind this gate")
        if upstream.throttle is None and request.method not in {"GET", "HEAD"}:
            return _refusal(405, "UNSUPPORTED", "this registry is only read")
        try:
            return await self._pass_on(request, upstream, found["key"], found["rest"])
        except BinderletError as error:
            return _refusal(_status_for_engine(error), "UNAVAILABLE", error.message)

    def _is_let_in(self, authorization: str) -> bool:
        wanted = base64.b64encode(f"{USER}:{self.password}".encode()).decode()
        return hmac.compare_digest(authorization, f"Basic {wanted}")

    async def _pass_on(self, request: web.Request, upstream: Upstream, key: str, rest: str) -> web.StreamResponse:
        headers = {name: request.headers[name] for name in PASSED_ON if name in request.headers}
        body = self._body(request, upstream) if request.body_exists else None
        where = _where(request, upstream, key, rest)
        async with upstream.client.open(request.method, where, headers=headers, data=body) as answer:
            back = {name: answer.headers[name] for name in PASSED_BACK if name in answer.headers}
            if location := answer.headers.get("Location"):
                back["Location"] = _own_location(urljoin(str(answer.url), location), key, rest)
            response = web.StreamResponse(status=answer.status, headers=back)
            await response.prepare(request)
            try:
                if request.method != "HEAD":
                    async for chunk in answer.content.iter_any():
                        upstream.received += len(chunk)
                        await response.write(chunk)
                await response.write_eof()
            except (aiohttp.ClientError, OSError, TimeoutError):
                # Cut off, so that the engine asks for the rest: anything written now it would take for the blob's.
                with contextlib.suppress(AttributeError):  # the engine has hung up by itself: there is no transport
                    request.transport.close()  # type: ignore[union-attr]  # see above
            return response

    def _body(self, request: web.Request, upstream: Upstream) -> AsyncIterator[bytes]:
        assert upstream.throttle is not None  # noqa: S101 - _serve looked
        return upstream.throttle.pace(request.content.iter_chunked(CHUNK))


def _where(request: web.Request, upstream: Upstream, key: str, rest: str) -> str:
    """Give the path or URL at the registry that a call is for."""
    query = parse_qsl(request.query_string, keep_blank_values=True)
    told = dict(query).get(TO, "")
    if told:
        base = base64.urlsafe_b64decode(told).decode()
        more = urlencode([(name, value) for name, value in query if name != TO])
        return f"{base}{'&' if '?' in base else '?'}{more}" if more else base
    changed = [(name, _without_key(value, key, upstream) if name == "from" else value) for name, value in query]
    return f"v2/{upstream.folder}{quote(rest, safe='/:@')}" + (f"?{urlencode(changed)}" if changed else "")


def _without_key(repository: str, key: str, upstream: Upstream) -> str:
    """Give the registry's name of the repository that a layer is to be mounted from."""
    return upstream.folder + repository.removeprefix(f"{key}/")


def _own_location(url: str, key: str, rest: str) -> str:
    """Give where the engine goes on with an upload: here, with the real place in a parameter."""
    told = base64.urlsafe_b64encode(url.encode()).decode()
    path = f"/v2/{key}/{rest.partition('?')[0].rstrip('/')}"
    unique = urlsplit(url).path.rpartition("/")[2]
    return f"{path}/{unique}?{TO}={told}" if "/blobs/uploads" in path else path


def _status_for_engine(error: BinderletError) -> int:
    """Give a status after which the engine says why, and for which it does not try again what cannot help."""
    return 403 if isinstance(error, StorageFull | StorageRefused) else 503


def _refusal(status: int, code: str, message: str, headers: Mapping[str, str] | None = None) -> web.Response:
    body = {"errors": [{"code": code, "message": message, "detail": message}]}
    return web.json_response(body, status=status, headers=headers)


def _read_port(path: Path) -> int:
    try:
        return int(path.read_text(encoding="ascii"))
    except (FileNotFoundError, ValueError):
        return 0


def _write_port(path: Path, port: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(str(port), encoding="ascii")
