"""What each control plane of a pair answers the others: behind its HAProxy, which lets nobody else in."""

from __future__ import annotations

import asyncio
import hashlib
import json
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route as Path_

from binderlet.errors import RouterUnavailable
from binderlet.pair.router import Announced
from binderlet.router.base import Router

FILES = ("activity.json", "pins.json", "federation.json", "standby/demand.json")
"""Of the state folder: small, written now and then, and of use to the next leader. None says what runs."""
LARGEST = 8 * 1024**2
"""Bytes of one file."""


class Door:
    """Answers on a unix socket; ``leading`` is None while this one does not lead."""

    def __init__(self, router: Router, state: Path) -> None:
        self._router = router
        self._state = state
        self.leading: Announced | None = None
        self.app = Starlette(
            routes=[
                Path_("/pair/alive", self._alive),
                Path_("/pair/traffic", self._traffic),
                Path_("/pair/state", self._told),
            ]
        )

    async def _alive(self, _request: Request) -> Response:
        return PlainTextResponse("yes\n")

    async def _traffic(self, _request: Request) -> Response:
        try:
            counted = await self._router.traffic()
        except RouterUnavailable as error:
            return PlainTextResponse(error.message, 503)
        return JSONResponse(
            {key: [one.websockets, one.requests, one.bytes_in, one.bytes_out] for key, one in counted.items()}
        )

    async def _told(self, request: Request) -> Response:
        if self.leading is None:
            return PlainTextResponse("This one does not lead.\n", 404)
        files = await asyncio.to_thread(read_files, self._state)
        body = json.dumps({"files": files, "announced": sorted(self.leading.announced)}).encode()
        tag = f'"{hashlib.sha256(body).hexdigest()[:32]}"'
        if request.headers.get("if-none-match") == tag:
            return Response(status_code=304, headers={"ETag": tag})
        return Response(body, media_type="application/json", headers={"ETag": tag})


def read_files(state: Path) -> dict[str, str]:
    """Read what there is of ``FILES``; blocks."""
    found = {}
    for name in FILES:
        path = state / name
        if path.is_file() and path.stat().st_size <= LARGEST:
            found[name] = path.read_text(encoding="utf-8", errors="replace")
    return found


def write_files(state: Path, told: dict[str, Any]) -> frozenset[str]:
    """Keep what the leader told, and give the ids of the sessions that it had led visitors to; blocks.

    Raises:
        KeyError: something is missing.
    """
    files, announced = told["files"], told["announced"]
    for name in FILES:
        if (text := files.get(name)) is not None:
            path = state / name
            path.parent.mkdir(parents=True, exist_ok=True)
            beside = path.with_name(f"{path.name}.told")
            beside.write_text(str(text), encoding="utf-8")
            beside.replace(path)
    return frozenset(map(str, announced))
