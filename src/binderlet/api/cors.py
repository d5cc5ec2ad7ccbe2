"""Lets scripts of other sites read every answer, errors included: thebe and galleries depend on it."""

from __future__ import annotations

from starlette.types import ASGIApp, Message, Receive, Scope, Send

ALLOW_HEADERS = b"authorization, x-xsrftoken, cache-control, accept, content-type, last-event-id"
EXPOSE_HEADERS = b"x-ratelimit-limit, x-ratelimit-remaining, x-ratelimit-reset, retry-after"
Header = tuple[bytes, bytes]


class Cors:
    """Adds the headers to every answer, and answers every ``OPTIONS`` itself.

    With an empty ``origin`` only paths in ``always`` may be read by other sites.
    """

    def __init__(self, app: ASGIApp, *, origin: str, always: frozenset[str] = frozenset({"/versions"})) -> None:
        self._app = app
        self._always = always
        self._configured = headers_for(origin)
        self._open = headers_for("*")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        extra = self._configured or (self._open if scope["path"] in self._always else [])
        if scope["method"] == "OPTIONS":
            await send({"type": "http.response.start", "status": 200, "headers": [*extra, (b"content-length", b"0")]})
            await send({"type": "http.response.body", "body": b""})
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), *extra]
            await send(message)

        await self._app(scope, receive, send_with_headers)


def headers_for(origin: str) -> list[Header]:
    """Give the headers that let ``origin`` read an answer; none where it is empty."""
    if not origin:
        return []
    return [
        (b"access-control-allow-origin", origin.encode("latin-1")),
        (b"access-control-allow-headers", ALLOW_HEADERS),
        (b"access-control-allow-methods", b"GET, HEAD, OPTIONS"),
        (b"access-control-expose-headers", EXPOSE_HEADERS),
        (b"access-control-max-age", b"600"),
    ]
