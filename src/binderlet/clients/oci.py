"""An OCI registry's API (Distribution): manifests, blobs, and how to be let in.

Foreign errors become ours in one place, ``OciClient.open``:

* 404 is an answer, not an error: ``manifest`` gives None;
* wrong or expired credentials -> ``StorageRefused``;
* a quota that is used up -> ``StorageFull``;
* no answer, a broken answer, 429 and 5xx -> ``ImagesUnavailable``, which never means that an image is missing.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import re
import ssl
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urljoin, urlsplit

import aiohttp

from binderlet.errors import BinderletError, ImageRejected, ImagesUnavailable, StorageFull, StorageRefused

DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEXES = ("application/vnd.docker.distribution.manifest.list.v2+json", "application/vnd.oci.image.index.v1+json")
ACCEPT = ", ".join((DOCKER_MANIFEST, OCI_MANIFEST, *INDEXES))
MANIFEST_LIMIT = 4 * 2**20
"""Bytes; also of an image's configuration."""
CHALLENGE = re.compile(r'(\w+)="([^"]*)"')
FULL = re.compile(r"(?i)quota|insufficient.?storage|storage.?full|no space left")
REFUSED = re.compile(
    r"InvalidAccessKeyId|SignatureDoesNotMatch|ExpiredToken|RequestTimeTooSkewed|AccessDenied|Forbidden"
)
TOKEN_MARGIN = 15.0
"""Seconds before a token's end in which it counts as ended."""


@dataclass(frozen=True, slots=True)
class Manifest:
    """One image's manifest as it is in a registry; the bytes have been checked against the digest."""

    digest: str
    media_type: str
    body: bytes

    @property
    def data(self) -> Mapping[str, Any]:
        """The JSON object."""
        found: Mapping[str, Any] = json.loads(self.body)
        return found


class OciClient:
    """One registry; all methods may be called concurrently.

    ``url`` is ``https://host/``; with ``socket`` the registry listens on that unix socket. ``requests`` counts calls.
    ``reason``, which may block, gives what is behind a failure that the registry itself does not explain.
    """

    def __init__(
        self,
        url: str,
        *,
        username: str = "",
        password: str = "",
        socket: Path | None = None,
        ca_bundle: Path | None = None,
        timeout: float = 30.0,
        reason: Callable[[], str] | None = None,
    ) -> None:
        self.url = url.rstrip("/") + "/"
        self.requests = 0
        self._socket = socket
        self._reason = reason
        self._ca_bundle = ca_bundle
        self._login = _basic(username, password) if username or password else {}
        self._timeout = aiohttp.ClientTimeout(sock_connect=5, sock_read=timeout)
        self._session: aiohttp.ClientSession | None = None
        self._opening = asyncio.Lock()
        self._uses_basic = False
        self._realms: dict[str, str] = {}
        self._tokens: dict[str, tuple[str, float]] = {}

    @property
    def host(self) -> str:
        """Its host, for people."""
        return urlsplit(self.url).netloc

    async def ping(self) -> None:
        """Ask whether it speaks the API and lets us in."""
        async with self.open("GET", "v2/", allow=(200,)):
            return

    async def manifest(self, repository: str, reference: str) -> Manifest | None:
        """Give a manifest by tag or digest, or None where the registry says that it has none.

        Raises:
            ImageRejected: its bytes are not those of its digest.
        """
        path = f"v2/{repository}/manifests/{reference}"
        async with self.open("GET", path, headers={"Accept": ACCEPT}, allow=(200, 404)) as answer:
            if answer.status == 404:  # noqa: PLR2004 - HTTP's own number
                return None
            body = await _read(answer)
            digest = digest_of(body)
            told = reference if reference.startswith("sha256:") else answer.headers.get("Docker-Content-Digest", digest)
            if told != digest:
                raise ImageRejected(f"{self.host} sent a manifest of {repository} that is {digest}, not {told}.")
            return Manifest(digest, answer.content_type, body)

    async def blob(self, repository: str, digest: str) -> bytes:
        """Give a small blob, such as an image's configuration, checked against its digest.

        Raises:
            ImageRejected: its bytes are not those of its digest.
            ImagesUnavailable: also where it is missing, though a manifest names it.
        """
        async with self.open("GET", f"v2/{repository}/blobs/{digest}", allow=(200,)) as answer:
            body = await _read(answer)
        if digest_of(body) != digest:
            raise ImageRejected(f"{self.host} sent a blob of {repository} that is not {digest}.")
        return body

    async def put_blob(self, repository: str, body: bytes) -> str:
        """Store a small blob and give its digest; one that is there is not sent again."""
        digest = digest_of(body)
        async with self.open("HEAD", f"v2/{repository}/blobs/{digest}", allow=(200, 404)) as answer:
            if answer.status == 200:  # noqa: PLR2004 - HTTP's own number
                return digest
        async with self.open("POST", f"v2/{repository}/blobs/uploads/", allow=(202,)) as answer:
            where = urljoin(str(answer.url), answer.headers["Location"])
        glue = "&" if "?" in where else "?"
        headers = {"Content-Type": "application/octet-stream"}
        async with self.open("PUT", f"{where}{glue}digest={digest}", headers=headers, data=body, allow=(201,)):
            return digest

    async def put_manifest(self, repository: str, reference: str, body: bytes, media_type: str = OCI_MANIFEST) -> str:
        """Store a manifest under a tag and give its digest."""
        headers = {"Content-Type": media_type}
        path = f"v2/{repository}/manifests/{reference}"
        async with self.open("PUT", path, headers=headers, data=body, allow=(201,)):
            return digest_of(body)

    async def delete_manifest(self, repository: str, digest: str) -> None:
        """Remove a manifest with all its tags; its layers go with the next garbage collection. Idempotent."""
        async with self.open("DELETE", f"v2/{repository}/manifests/{digest}", allow=(202, 404)):
            return

    async def tags(self, repository: str) -> list[str]:
        """Give the tags of a repository; none where there is no such repository."""
        found: list[str] = []
        path = f"v2/{repository}/tags/list"
        while path:
            async with self.open("GET", path, allow=(200, 404)) as answer:
                if answer.status == 404:  # noqa: PLR2004 - HTTP's own number
                    return found
                found += (await answer.json(content_type=None)).get("tags") or []
                following = answer.links.get("next")
                path = str(following["url"]) if following else ""
        return found

    @asynccontextmanager
    async def open(
        self,
        method: str,
        path: str,
        *,
        headers: Mapping[str, str] | None = None,
        data: bytes | AsyncIterator[bytes] | None = None,
        allow: tuple[int, ...] = (),
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """Make one call, let in where that is needed, and give the answer while the context lasts.

        ``path`` may be a URL of another host: it is then called without our credentials. With ``allow`` another
        status is an error. A stream as ``data`` cannot be sent twice: log in with an earlier call.

        Raises:
            StorageRefused, StorageFull, ImagesUnavailable: see the module.
        """
        url = urljoin(self.url, path)
        try:
            answer = await self._send(method, url, headers or {}, data)
            try:
                if allow and answer.status not in allow:
                    said = (await _read(answer)).decode(errors="replace")
                    raise await self.explained(error_of(answer.status, self.host, said))
                yield answer
            finally:
                # Releasing would read a blob that nobody wants any more to its end.
                if answer.content.at_eof():
                    answer.release()
                else:
                    answer.close()
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError, KeyError) as error:
            raise ImagesUnavailable(f"The registry {self.host} does not answer: {_words(error)}.") from error

    async def explained(self, error: BinderletError) -> BinderletError:
        """Give the error that a failure really is, as far as anybody knows more than it says."""
        if self._reason is None or not isinstance(error, ImagesUnavailable):
            return error
        said = await asyncio.to_thread(self._reason)
        return error_of(503, self.host, said) if said else error

    async def _send(
        self, method: str, url: str, headers: Mapping[str, str], data: bytes | AsyncIterator[bytes] | None
    ) -> aiohttp.ClientResponse:
        session = await self._opened()
        ours = urlsplit(url).netloc == self.host
        login = await self._authorization(scope_of(method, url)) if ours else {}
        self.requests += 1
        answer = await session.request(method, url, headers={**headers, **login}, data=data)
        if not ours or answer.status != 401 or isinstance(data, AsyncIterator):  # noqa: PLR2004 - HTTP's own number
            return answer
        challenge = answer.headers.get("WWW-Authenticate", "")
        answer.release()
        self._tokens.pop(scope_of(method, url), None)
        self._understand(challenge)
        login = await self._authorization(scope_of(method, url))
        self.requests += 1
        return await session.request(method, url, headers={**headers, **login}, data=data)

    def _understand(self, challenge: str) -> None:
        kind, _, rest = challenge.partition(" ")
        self._uses_basic = kind.lower() == "basic"
        if kind.lower() == "bearer":
            self._realms = dict(CHALLENGE.findall(rest))

    async def _authorization(self, scope: str) -> dict[str, str]:
        if self._uses_basic:
            return self._login
        if "realm" not in self._realms:
            return {}
        token, ends = self._tokens.get(scope, ("", 0.0))
        if ends - TOKEN_MARGIN < time.monotonic():
            token, ends = await self._fetch_token(scope)
            self._tokens[scope] = token, ends
        return {"Authorization": f"Bearer {token}"}

    async def _fetch_token(self, scope: str) -> tuple[str, float]:
        wanted = {"service": self._realms.get("service", ""), "scope": scope}
        parameters = {name: value for name, value in wanted.items() if value}
        session = await self._opened()
        self.requests += 1
        async with session.get(self._realms["realm"], params=parameters, headers=self._login) as answer:
            if answer.status != 200:  # noqa: PLR2004 - HTTP's own number
                raise error_of(answer.status, self.host, (await _read(answer)).decode(errors="replace"))
            body = await answer.json(content_type=None)
        token = str(body.get("token") or body["access_token"])
        return token, time.monotonic() + float(body.get("expires_in", 60))

    async def _opened(self) -> aiohttp.ClientSession:
        async with self._opening:
            if self._session is None:
                # Any blob may be large: the answer is passed on as it is, and the connections are few.
                self._session = aiohttp.ClientSession(
                    connector=await self._connector(),
                    timeout=self._timeout,
                    auto_decompress=False,
                    headers={"Accept-Encoding": "identity"},
                )
            return self._session

    async def _connector(self) -> aiohttp.BaseConnector:
        if self._socket is not None:
            return aiohttp.UnixConnector(str(self._socket))
        if self._ca_bundle is None or not self.url.startswith("https:"):
            return aiohttp.TCPConnector()
        context = await asyncio.to_thread(ssl.create_default_context, cafile=str(self._ca_bundle))
        return aiohttp.TCPConnector(ssl=context)

    async def close(self) -> None:
        """Close the connections. Idempotent."""
        if self._session is not None:
            await self._session.close()


def _basic(username: str, password: str) -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(f"{username}:{password}".encode()).decode()}


def digest_of(body: bytes) -> str:
    """Give the digest of some bytes: ``sha256:...``."""
    return f"sha256:{hashlib.sha256(body).hexdigest()}"


def scope_of(method: str, url: str) -> str:
    """Give the scope that a token needs for a call; empty where any will do."""
    found = re.match(r"/v2/(.+?)/(?:manifests|blobs|tags)/", urlsplit(url).path)
    if found is None:
        return ""
    rights = {"GET": "pull", "HEAD": "pull", "DELETE": "delete,pull"}.get(method, "pull,push")
    return f"repository:{found[1]}:{rights}"


def error_of(status: int, host: str, said: str) -> BinderletError:
    """Give our error for an answer that is none of those that were hoped for."""
    words = f"status {status}: {_short(said)}" if said.strip() else f"status {status}"
    if status == 507 or FULL.search(said):  # noqa: PLR2004 - HTTP's own number
        return StorageFull(f"The registry {host} takes no more ({words}).")
    if status in {401, 403} or REFUSED.search(said):
        return StorageRefused(f"The registry {host} refuses ({words}).")
    return ImagesUnavailable(f"The registry {host} fails ({words}).")


def _short(said: str) -> str:
    return " ".join(said.split())[:300]


def _words(error: Exception) -> str:
    return str(error).rstrip(".") or type(error).__name__


async def _read(answer: aiohttp.ClientResponse) -> bytes:
    body = bytearray()
    async for chunk in answer.content.iter_any():
        body += chunk
        if len(body) > MANIFEST_LIMIT:
            raise ValueError(f"an answer of more than {MANIFEST_LIMIT} bytes")
    return bytes(body)
