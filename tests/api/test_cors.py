"""What scripts of other sites may read."""

from __future__ import annotations

import pytest
from starlette.types import Receive, Scope, Send

from binderlet.api.cors import Cors, headers_for
from support.asgi import ask


async def hello(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer without headers."""
    await send({"type": "http.response.start", "status": 404})
    await send({"type": "http.response.body", "body": b"hello"})


async def test_every_answer_may_be_read() -> None:
    """An error has the headers too, with the rate limit's readable."""
    answer = await ask(Cors(hello, origin="*"), "/anything")
    assert (answer.status, answer.body) == (404, b"hello")
    assert answer.headers["access-control-allow-origin"] == "*"
    assert "x-ratelimit-remaining" in answer.headers["access-control-expose-headers"]


@pytest.mark.parametrize(("path", "allowed"), [("/health", False), ("/versions", True)])
async def test_without_an_origin_only_versions_is_open(path: str, *, allowed: bool) -> None:
    """An operator can close everything but what federations compare."""
    answer = await ask(Cors(hello, origin=""), path)
    assert ("access-control-allow-origin" in answer.headers) is allowed


async def test_a_preflight_never_reaches_the_service() -> None:
    """OPTIONS is answered for any path, with 200 and no body."""
    answer = await ask(Cors(hello, origin="https://a.test"), "/x", method="OPTIONS")
    assert (answer.status, answer.body, answer.headers["content-length"]) == (200, b"", "0")
    assert answer.headers["access-control-allow-origin"] == "https://a.test"


async def test_what_is_not_http_passes() -> None:
    """The start and end of the service are none of its business."""
    seen: list[str] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        """Note what came."""
        seen.append(scope["type"])

    async def never(*_: object) -> None:  # pragma: no cover - must not be called
        """Fail."""
        raise AssertionError

    await Cors(app, origin="*")({"type": "lifespan"}, never, never)  # type: ignore[arg-type] # it is not called
    assert seen == ["lifespan"]


def test_no_origin_no_headers() -> None:
    """An empty setting adds nothing."""
    assert headers_for("") == []
