"""Kubernetes' API: calls, pages, watches and logs over HTTP, and its errors as ours.

A thin layer on aiohttp rather than a client library: what a session needs is one resource and five verbs, and
``kubernetes-asyncio`` costs more memory than the rest of the control plane (``ARCHITECTURE.md`` has the figures).

* 429 -> waits as long as the server asks, then asks again, up to ``PATIENCE``;
* 401 -> reads the token's file again, then asks once more;
* 404 -> ``NotFound``; a used-up quota -> ``Full``; a refused pod -> ``LaunchFailed``;
* a missing permission, no answer, a broken answer, 5xx -> ``EngineUnavailable``.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import Any, TypeVar

import aiohttp

from binderlet.clients.kubernetes_access import Access
from binderlet.errors import BinderletError, EngineUnavailable, Full, LaunchFailed, NotFound

CALL_TIMEOUT = 30.0
"""Seconds that one call may take."""
PATIENCE = 30.0
"""Seconds for which a call is tried again while the server says that it is asked too often."""
PAGE = 250
"""Items of one answer to a list: more would be held in memory at once on both sides."""
WATCH_SECONDS = 240
"""After which the server is asked to end a watch, so that one that silently died is noticed."""
SILENCE = 300.0
"""Seconds without a byte after which a watch counts as dead; servers send a bookmark about every minute."""
TOKEN_LIFE = 60.0
"""Seconds after which a token is read from its file again."""

HINT = "'kubectl get --raw /readyz' asks the cluster the same; kubernetes.kubeconfig says which cluster it is."
RIGHTS_HINT = "Give binderlet's account the role that the Helm chart makes; 'binderlet k3s check' says what it lacks."

UNAUTHORIZED, FORBIDDEN, NOT_FOUND, CONFLICT, GONE, TOO_MANY = 401, 403, 404, 409, 410, 429

T = TypeVar("T")

FOREIGN_ERRORS = (aiohttp.ClientError, OSError, TimeoutError, ValueError, KeyError, TypeError)
"""The last three: something answers that is not an API server."""


class KubernetesError(Exception):
    """What the API server answered instead of what was asked for."""

    def __init__(self, status: int, reason: str, message: str, retry_after: float = 1.0) -> None:
        super().__init__(f"{status} {reason}: {message}")
        self.status = status
        self.reason = reason
        self.message = message.strip() or reason
        self.retry_after = retry_after


def translate(error: Exception) -> BinderletError:
    """Give our error for a foreign one."""
    if isinstance(error, BinderletError):
        return error
    if isinstance(error, KubernetesError):
        return _translate_status(error)
    if isinstance(error, ValueError | KeyError | TypeError):
        return EngineUnavailable(f"The cluster gave an answer that makes no sense: {error!r}.", hint=HINT)
    if isinstance(error, TimeoutError):
        return EngineUnavailable("The cluster did not answer in time.", hint=HINT)
    if isinstance(error, aiohttp.ClientConnectorError):
        # Its own words hold a representation of the TLS context.
        why = error.os_error.strerror or error.os_error
        return EngineUnavailable(f"The cluster does not answer at {error.host}:{error.port}: {why}.", hint=HINT)
    return EngineUnavailable(f"The cluster does not answer: {str(error) or type(error).__name__}.", hint=HINT)


def _translate_status(error: KubernetesError) -> BinderletError:
    said = error.message.rstrip(".")
    if error.status == FORBIDDEN and "exceeded quota" in said:
        return Full(
            f"The cluster's quota for sessions is used up: {said}.",
            hint="Try again in a few minutes; operators can raise the namespace's ResourceQuota.",
            retry_after=60,
        )
    if error.status == UNAUTHORIZED or (error.status == FORBIDDEN and "cannot" in said):
        return EngineUnavailable(f"The cluster does not let binderlet do its work: {said}.", hint=RIGHTS_HINT)
    if error.status == NOT_FOUND and said.startswith("namespaces "):
        return EngineUnavailable(f"The cluster lacks the namespace of sessions: {said}.", hint=RIGHTS_HINT)
    if error.status == NOT_FOUND:
        return NotFound(f"The cluster knows no such thing: {said}.")
    if error.status < 500 and error.status not in {TOO_MANY, GONE}:  # noqa: PLR2004 - HTTP's own number
        return LaunchFailed(f"The cluster refused: {said}.", hint="The namespace's limits or policies forbid it.")
    return EngineUnavailable(f"The cluster failed: {said}.", hint=HINT)


@contextmanager
def cluster_errors() -> Iterator[None]:
    """Raise our error instead of a foreign one."""
    try:
        yield
    except (KubernetesError, *FOREIGN_ERRORS) as error:
        raise translate(error) from error


class KubernetesClient:
    """An open connection to one cluster, as one identity."""

    def __init__(self, access: Access) -> None:
        self.access = access
        self.throttled = 0
        """How often the server asked for patience."""
        self.guard: Callable[[], None] | None = None
        """Is asked before each call that changes something, and raises where this process must not change anything."""
        self._token = access.token
        self._token_read = -TOKEN_LIFE
        # No limit on connections: a watch holds one for ever, and starts must not hold back the ping behind /health.
        self._connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=30)
        timeout = aiohttp.ClientTimeout(total=CALL_TIMEOUT, sock_connect=5)
        self._session = aiohttp.ClientSession(connector=self._connector, timeout=timeout)

    async def call(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str] | None = None,
        body: Mapping[str, Any] | None = None,
    ) -> Any:  # noqa: ANN401 - JSON
        """Make one call and give its JSON.

        Raises:
            KubernetesError: the server refused; ``cluster_errors`` makes it ours.
        """
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                return json.loads(await self._once(method, path, params, body))
            except KubernetesError as error:
                if error.status != TOO_MANY or time.monotonic() + error.retry_after > deadline:
                    raise
                self.throttled += 1
                await asyncio.sleep(error.retry_after)

    async def read(self, path: str, *, params: Mapping[str, str] | None = None) -> bytes:
        """Make one GET call and give its answer as it is.

        Raises:
            KubernetesError: the server refused.
        """
        return await self._once("GET", path, params, None)

    async def _once(
        self, method: str, path: str, params: Mapping[str, str] | None, body: Mapping[str, Any] | None
    ) -> bytes:
        async with self._open(method, path, params, body) as response:
            return await response.read()

    async def collect(
        self, path: str, make: Callable[[dict[str, Any]], T | None], *, params: Mapping[str, str]
    ) -> tuple[list[T], str]:
        """Read a list page by page, and give what ``make`` makes of each item, and the list's resource version.

        ``make`` gives None of what is left out; one page is in memory at a time.

        Raises:
            KubernetesError: the server refused.
        """
        found: list[T] = []
        more = {"limit": str(PAGE)}
        while True:
            try:
                page = await self.call("GET", path, params={**params, **more})
            except KubernetesError as error:
                if error.status != GONE or "continue" not in more:
                    raise
                # Reading took longer than the server remembers: all anew, in one answer.
                found, more = [], {}
                continue
            found += [one for item in page.get("items") or () if (one := make(item)) is not None]
            if not (token := page["metadata"].get("continue")):
                return found, str(page["metadata"].get("resourceVersion", ""))
            more = {"limit": str(PAGE), "continue": token}

    async def watch(self, path: str, *, params: Mapping[str, str], since: str) -> AsyncIterator[dict[str, Any]]:
        """Give what changes after a resource version, as ``{"type": ..., "object": ...}``, until the server ends it.

        Raises:
            KubernetesError: the server refused, or the version is too old (410).
        """
        wanted = {
            **params,
            "watch": "1",
            "allowWatchBookmarks": "true",
            "timeoutSeconds": str(WATCH_SECONDS),
            "resourceVersion": since,
        }
        timeout = aiohttp.ClientTimeout(sock_connect=5, sock_read=SILENCE)
        async with self._open("GET", path, wanted, None, timeout=timeout) as response:
            rest = b""
            async for chunk in response.content.iter_any():
                *lines, rest = (rest + chunk).split(b"\n")
                for line in lines:
                    yield _checked(json.loads(line))

    @asynccontextmanager
    async def _open(
        self,
        method: str,
        path: str,
        params: Mapping[str, str] | None,
        body: Mapping[str, Any] | None,
        *,
        timeout: aiohttp.ClientTimeout | None = None,  # noqa: ASYNC109 - aiohttp's own kind
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        response = await self._send(method, path, params, body, timeout)
        if response.status == UNAUTHORIZED and self.access.token_file is not None:
            response.release()
            self._token_read = -TOKEN_LIFE
            response = await self._send(method, path, params, body, timeout)
        try:
            if response.status >= 400:  # noqa: PLR2004 - HTTP's own number
                raise _error(response, await response.text())
            yield response
        finally:
            # Releasing would read a watch to its end; closed connections cost a handshake, so only where not read up.
            response.release() if response.content.at_eof() else response.close()

    async def _send(
        self,
        method: str,
        path: str,
        params: Mapping[str, str] | None,
        body: Mapping[str, Any] | None,
        timeout: aiohttp.ClientTimeout | None,  # noqa: ASYNC109 - aiohttp's own kind
    ) -> aiohttp.ClientResponse:
        headers = {"Accept": "application/json"}
        if self.guard is not None and method != "GET":
            self.guard()
        if token := await self._fresh_token():
            headers["Authorization"] = f"Bearer {token}"
        extra: dict[str, Any] = {"timeout": timeout} if timeout else {}
        if self.access.server_name:
            extra["server_hostname"] = self.access.server_name
        return await self._session.request(
            method,
            f"{self.access.server}/{path.lstrip('/')}",
            params=params,
            json=body,
            headers=headers,
            ssl=self.access.tls or False,
            **extra,
        )

    async def _fresh_token(self) -> str:
        file = self.access.token_file
        if file is not None and time.monotonic() - self._token_read >= TOKEN_LIFE:
            self._token = (await asyncio.to_thread(file.read_text)).strip()
            self._token_read = time.monotonic()
        return self._token

    async def connect(
        self, path: str, params: Sequence[tuple[str, str]], protocol: str
    ) -> aiohttp.ClientWebSocketResponse:
        """Open a WebSocket; the caller closes it.

        Raises:
            KubernetesError: the server refused.
        """
        headers = {"Authorization": f"Bearer {token}"} if (token := await self._fresh_token()) else {}
        extra: dict[str, Any] = {"server_hostname": self.access.server_name} if self.access.server_name else {}
        try:
            socket: aiohttp.ClientWebSocketResponse = await self._session.ws_connect(
                f"{self.access.server}/{path.lstrip('/')}",
                params=params,
                protocols=(protocol,),
                headers=headers,
                ssl=self.access.tls or False,
                max_msg_size=0,
                **extra,
            )
        except aiohttp.WSServerHandshakeError as error:
            # The reason is in the answer's body, which is lost here; the status says enough.
            raise KubernetesError(error.status, "", f"{path} cannot be opened ({error.message})") from error
        return socket

    async def version(self) -> str:
        """Ask for the server's version, such as ``1.31.4+k3s1``.

        Raises:
            EngineUnavailable: it does not answer.
        """
        with cluster_errors():
            answer = await self.call("GET", "version")
            return str(answer["gitVersion"]).removeprefix("v")

    async def close(self) -> None:
        """Close all connections. Idempotent."""
        # At once: nobody would wait for a server that does not say goodbye.
        await self._connector.close(abort_ssl=True)
        await self._session.close()


def _checked(event: dict[str, Any]) -> dict[str, Any]:
    if event["type"] == "ERROR":
        status: Mapping[str, Any] = event["object"]
        raise KubernetesError(int(status.get("code", 500)), status.get("reason", ""), status.get("message", ""))
    return event


def _error(response: aiohttp.ClientResponse, text: str) -> KubernetesError:
    try:
        said = json.loads(text)
        reason, message = str(said.get("reason", "")), str(said.get("message", ""))
    except (ValueError, AttributeError):
        reason, message = response.reason or "", text.strip()[:300]
    seconds = response.headers.get("Retry-After", "")
    return KubernetesError(response.status, reason, message, float(seconds) if seconds.isdigit() else 1.0)
