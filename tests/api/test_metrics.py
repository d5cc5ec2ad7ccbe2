"""``/metrics``."""

from __future__ import annotations

from starlette.applications import Starlette

from support.asgi import ask


async def test_prometheus_gets_its_text(app: Starlette) -> None:
    """The content type is the one that collectors know."""
    answer = await ask(app, "/metrics")
    assert answer.headers["content-type"] == "text/plain; version=1.0.0; charset=utf-8"
    assert answer.text == "binderhub_inprogress_launches 1.0\n"
