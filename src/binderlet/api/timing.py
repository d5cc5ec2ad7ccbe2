"""Counts requests and measures them; a stream counts when it begins to answer."""

from __future__ import annotations

import time
from collections.abc import Callable

from starlette.types import ASGIApp, Message, Receive, Scope, Send

Observe = Callable[[str, int, float], None]
"""Takes route, status and seconds."""
ROUTES = frozenset({"build", "v2", "health", "versions", "metrics", "api", "status", "about", "static", "repo"})
OTHER = "other"


class Timing:
    """Tells ``observe`` of every request when its answer begins."""

    def __init__(self, app: ASGIApp, observe: Observe) -> None:
        self._app = app
        self._observe = observe

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        began = time.perf_counter()

        async def observed(message: Message) -> None:
            if message["type"] == "http.response.start":
                self._observe(route_of(scope["path"]), message["status"], time.perf_counter() - began)
            await send(message)

        await self._app(scope, receive, observed)


def route_of(path: str) -> str:
    """Give a path's first segment where it is one of ours; few values, whatever visitors ask for."""
    first = path.split("/", 2)[1] if path.startswith("/") else ""
    return f"/{first}" if not first or first in ROUTES else OTHER
