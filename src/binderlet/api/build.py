"""``GET /build/{provider}/{spec}``: begin a launch, or join one again, and follow its events.

The HTTP status is 200 whatever happens, as BinderHub's clients expect; what is wrong is said by a ``failed``
event. Order of the checks: method, Accept, network, resumption, form, token, rate.
"""

from __future__ import annotations

from urllib.parse import parse_qs

from starlette.datastructures import Headers
from starlette.types import Receive, Scope, Send

from binderlet.api.ban import BannedNetworks
from binderlet.api.errors import Problem, as_event, retry_headers
from binderlet.api.ports import Launch, Services
from binderlet.api.ratelimit import RateLimiter
from binderlet.api.sse import Streams, frame, send_once
from binderlet.api.tokens import BuildTokens
from binderlet.api.visitor import base_url, client_address, client_key, raw_path, token_origin
from binderlet.errors import BadSpec, BinderletError, UnknownProvider
from binderlet.launch.request import LaunchRequest
from binderlet.model import RepoSpec

Query = dict[str, list[str]]
PREFIX = "/build/"
LAST_EVENT_ID = ("last_event_id", "lastEventId", "last-event-id")
"""Names in the query, for clients that cannot set the header."""


class Build:
    """The endpoint. ``admin``: it is served on the private socket, where ``build_only`` is allowed."""

    def __init__(self, services: Services, streams: Streams, tokens: BuildTokens, *, admin: bool = False) -> None:
        self._services = services
        self._streams = streams
        self._tokens = tokens
        self._admin = admin
        self._banned = BannedNetworks({} if admin else services.settings.limits.banned_networks)
        self._rate = RateLimiter(0 if admin else services.settings.limits.launches_per_hour)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        headers = Headers(scope=scope)
        query = parse_qs(scope.get("query_string", b"").decode("latin-1"))
        if scope["method"] == "HEAD":
            await send_once(send, b"", {})
            return
        extra: dict[str, str] = {}
        try:
            check_request(scope["method"], headers)
            self._banned.check(client_address(scope, headers))
            launch, after = self._resume(scope, headers, query)
            if launch is None:
                launch, extra = self._open(scope, headers, query)
        except BinderletError as error:
            await send_once(send, frame(as_event(error)), retry_headers(error))
            return
        if after and launch.story.closed and after >= len(launch.story.events):
            # All of it was seen: 204 is how an EventSource is told not to come back.
            await send({"type": "http.response.start", "status": 204, "headers": []})
            await send({"type": "http.response.body", "body": b""})
            return
        await self._streams.send_story(launch, after, receive=receive, send=send, headers=extra)

    def _resume(self, scope: Scope, headers: Headers, query: Query) -> tuple[Launch | None, int]:
        """Find the launch that the client has followed so far; only for the same repository."""
        given = headers.get("last-event-id") or next((query[name][0] for name in LAST_EVENT_ID if name in query), "")
        launch_id, _, number = given.rpartition("-")
        if not launch_id or not (number.isascii() and number.isdigit()):
            return None, 0
        launch = self._services.book.find(launch_id)
        if launch is None or launch.request.spec != asked_for(scope):
            return None, 0
        # A launch that an earlier control plane began has a story that begins anew: all of it is news.
        seen = int(number) - launch.numbers_from
        return launch, seen if 0 <= seen <= len(launch.story.events) else 0

    def _open(self, scope: Scope, headers: Headers, query: Query) -> tuple[Launch, dict[str, str]]:
        """Begin a launch; only one that names a repository in good form counts against the client's rate."""
        services, spec = self._services, asked_for(scope)
        build_only = first(query, "build_only").lower() == "true"
        if build_only and not self._admin:
            raise Problem(
                400,
                "build_only_not_permitted",
                "Building but not launching is not permitted here.",
                "'binderlet build' does it on the machine itself.",
            )
        origin = token_origin(headers)
        has_token = self._check_token(spec, first(query, "build_token"), origin)
        address = client_address(scope, headers)
        extra: dict[str, str] = {}
        if not has_token and self._is_sound(spec):
            allowance = self._rate.charge(client_key(address), services.clock())
            extra = allowance.headers if allowance else {}
        request = LaunchRequest(
            spec,
            host=self._host(scope, headers),
            launch_host=services.settings.launch_host,
            build_only=build_only,
            build_token=has_token,
            client=address,
            origin=origin,
            request_origin=headers.get("origin") or headers.get("sec-fetch-site", ""),
            retry=first(query, "retry").lower() in {"1", "true"},
        )
        return services.book.open(request), extra

    def _host(self, scope: Scope, headers: Headers) -> str:
        server = self._services.settings.server
        if self._admin and not server.public_url:
            return f"http://127.0.0.1:{server.port}/"
        return base_url(scope, headers, server.public_url)

    def _check_token(self, spec: RepoSpec, token: str, origin: str) -> bool:
        if not token:
            return False
        self._tokens.check(token, spec.provider, spec.spec, origin, self._services.clock())
        return True

    def _is_sound(self, spec: RepoSpec) -> bool:
        provider = self._services.providers.get(spec.provider)
        if provider is None:
            return False
        try:
            provider.check(spec.spec)
        except BadSpec:
            return False
        return True


def check_request(method: str, headers: Headers) -> None:
    """Refuse what is not an event stream's request; crawlers follow links without asking for one."""
    if method != "GET":
        raise Problem(405, "method_not_allowed", f"{method} is not allowed here.", "Use GET.")
    if "text/event-stream" not in headers.get("accept", "").lower():
        raise Problem(
            400,
            "not_an_event_stream",
            "Missing Accept header: text/event-stream",
            "Open the launch page, /v2/ instead of /build/, in a browser.",
        )


def asked_for(scope: Scope) -> RepoSpec:
    """Read provider and spec from the raw path.

    Raises:
        UnknownProvider: the path ends before a provider is named.
        BadSpec: the path ends before a repository is named.
    """
    provider, _, spec = raw_path(scope).partition(PREFIX)[2].partition("/")
    spec = spec.rstrip("/")
    if not provider:
        raise UnknownProvider("The URL names no repo provider.")
    if not spec:
        raise BadSpec(f"The URL names no repository: {PREFIX}{provider}/ must be followed by one.")
    return RepoSpec(provider, spec)


def first(query: Query, name: str) -> str:
    """Give a query parameter's first value, or ``""``."""
    return query.get(name, [""])[0]
