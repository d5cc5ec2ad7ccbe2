"""``/versions``: what runs here; members of a federation compare it as a whole."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse

from binderlet.api.ports import Services


def versions_body(services: Services) -> dict[str, Any]:
    """Give BinderHub's keys; ``builder`` is there where the builder has an image of its own."""
    info = dict(services.builder_info)
    body: dict[str, Any] = {"builder_info": info, "binderhub": services.version}
    if "build_image" in info:
        body["builder"] = info["build_image"]
    return body


class Versions:
    """The endpoint; in a federation the body may be the one that the federation expects."""

    def __init__(self, services: Services) -> None:
        self._body = versions_body(services)
        self._membership = services.membership

    async def answer(self, _request: Request) -> JSONResponse:
        """Answer."""
        expected = self._membership.versions() if self._membership else None
        return JSONResponse(self._body if expected is None else expected)
