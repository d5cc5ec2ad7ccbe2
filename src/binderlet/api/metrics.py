"""``/metrics``: what Prometheus collects."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from binderlet.api.ports import Services

CONTENT_TYPE = "text/plain; version=1.0.0; charset=utf-8"


class Metrics:
    """The endpoint."""

    def __init__(self, services: Services) -> None:
        self._services = services

    async def answer(self, _request: Request) -> Response:
        """Answer in the text format."""
        return Response(self._services.metrics(), headers={"content-type": CONTENT_TYPE})
