"""Every URL of the redirector, as one ASGI application; plain launches seldom get here, see ``protocol.py``."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any

from starlette.types import ASGIApp, Receive, Scope, Send

from binderlet.federation.metrics import CONTENT_TYPE, Metrics
from binderlet.federation.redirector import Redirector
from binderlet.federation.standing import Standing

BUILD = "/build/"
BADGES = {"/badge_logo.svg": "/badge_logo.svg", "/badge.svg": "/badge.svg", "/assets/images/badge.svg": "/badge.svg"}
MEMBER_OWN = ("/user/", "/api/builds/")
"""What only the member that made it can answer: its links carry that member's own address."""
CORS = (
    (b"access-control-allow-origin", b"*"),
    (
        b"access-control-allow-headers",
        b"authorization, x-xsrftoken, cache-control, accept, content-type, last-event-id",
    ),
)
FOR_READERS = (*CORS, (b"cache-control", b"no-store"))


class App:
    """The redirector's URLs; ``pages`` answers what is not its own."""

    def __init__(self, redirector: Redirector, pages: ASGIApp) -> None:
        self._redirector = redirector
        self._pages = pages
        self._metrics = Metrics(redirector)
        self._own: Mapping[str, Callable[[], tuple[str, bytes]]] = {
            "/active_hosts": self._active_hosts,
            "/metrics": self._render,
            "/federation": self._federation,
            "/federation/health": self._health,
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        path, method = scope["path"], scope["method"]
        if method == "OPTIONS":
            await reply(send, 200, b"", CORS)
        elif method not in {"GET", "HEAD"}:
            await reply(send, 405, b"GET is what works here.\n", ((b"allow", b"GET, HEAD, OPTIONS"), *FOR_READERS))
        elif path.startswith(BUILD):
            await self._launch(scope, send)
        elif path in self._own:
            content_type, body = self._own[path]()
            headers = ((b"content-type", content_type.encode()), *FOR_READERS)
            await reply(send, 200, body, headers, head=method == "HEAD")
        elif path in BADGES and self._redirector.federation.badges:
            target = self._redirector.federation.badges + BADGES[path]
            await reply(send, 301, b"", ((b"location", target.encode()), *CORS))
        else:
            await self._pages(scope, receive, send)

    async def _launch(self, scope: Scope, send: Send) -> None:
        """Redirect a launch that did not take the short way."""
        target: bytes = scope["raw_path"] + (b"?" + scope["query_string"] if scope["query_string"] else b"")
        cookie = dict(scope["headers"]).get(b"cookie", b"")
        answer = self._redirector.answer(target, cookie)
        if answer is None:
            await reply(send, 400, b"This address has characters that no URL may have.\n", FOR_READERS)
            return
        status, headers = taken_apart(answer)
        await reply(send, status, b"", headers)

    def _active_hosts(self) -> tuple[str, bytes]:
        return "application/json", json.dumps({"active_hosts": self._redirector.active_hosts()}).encode()

    def _render(self) -> tuple[str, bytes]:
        return CONTENT_TYPE, self._metrics.render()

    def _health(self) -> tuple[str, bytes]:
        """Answer a load balancer: this redirector can redirect, whatever the members do."""
        return "application/json", b'{"ok": true}\n'

    def _federation(self) -> tuple[str, bytes]:
        return "application/json", json.dumps(overview(self._redirector), indent=2).encode() + b"\n"


def overview(redirector: Redirector) -> dict[str, Any]:
    """Give how every member stands, and why it gets what it gets."""
    given: dict[str, int] = {}
    for (name, _), count in redirector.counts.items():
        given[name] = given.get(name, 0) + count
    rows = []
    for one in redirector.shares:
        standing = redirector.standings.get(one.name, Standing())
        member, room = redirector.federation.members[one.name], standing.report.room
        rows.append(
            {
                "name": one.name,
                "url": one.url,
                "prime": member.prime,
                "state": str(standing.phase),
                "since": standing.since,
                "weight": member.weight,
                "effective_weight": round(one.weight, 4),
                "reason": one.reason,
                "room": asdict(room) if room else None,
                "budget": member.budget or None,
                "redirected": given.get(one.name, 0),
            }
        )
    return {"url": redirector.federation.url, "members": rows}


def taken_apart(answer: bytes) -> tuple[int, list[tuple[bytes, bytes]]]:
    """Give status and headers of an answer that was made as bytes; the server dates its own."""
    first, *lines = answer.partition(b"\r\n\r\n")[0].split(b"\r\n")
    pairs = (line.split(b": ", 1) for line in lines)
    return int(first.split(b" ")[1]), [(name, value) for name, value in pairs if name != b"date"]


async def reply(
    send: Send,
    status: int,
    body: bytes,
    headers: tuple[tuple[bytes, bytes], ...] | list[tuple[bytes, bytes]],
    *,
    head: bool = False,
) -> None:
    """Send an answer in one piece."""
    sized = [*(pair for pair in headers if pair[0] != b"content-length"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": sized})
    await send({"type": "http.response.body", "body": b"" if head else body})
