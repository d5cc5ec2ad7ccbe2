"""``/api/builds/{id}/log``: the whole log of a build as text, followed to its end while the build runs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from binderlet.api.errors import as_json
from binderlet.api.ports import Services
from binderlet.errors import NotFound
from binderlet.events.buildlog import parse_line

BLOCK = 65536
"""Bytes read at a time; a line may be longer."""
POLL = 0.2
"""Seconds between looks at a log that still grows."""


class BuildLogs:
    """The endpoint."""

    def __init__(self, services: Services) -> None:
        self._services = services

    async def answer(self, request: Request) -> Response:
        """Answer with the log, or 404."""
        build_id = request.path_params["build_id"]
        path = self._services.build_log(build_id)
        if path is None:
            hint = "Logs are kept for a while after a build; launch the repository again to build it anew."
            return as_json(NotFound(f"There is no build {build_id!r}.", hint=hint))
        return StreamingResponse(
            self._text(build_id, path),
            headers={
                "content-type": "text/plain; charset=utf-8",
                "x-content-type-options": "nosniff",
                "cache-control": "no-cache",
            },
        )

    def _is_open(self, build_id: str) -> bool:
        return any(build.id == build_id and build.is_open for build in self._services.builds())

    async def _text(self, build_id: str, path: Path) -> AsyncIterator[bytes]:
        offset, rest = 0, b""
        while True:
            last = not self._is_open(build_id)
            block = await asyncio.to_thread(read_block, path, offset)
            offset += len(block)
            complete, newline, rest = (rest + block).rpartition(b"\n")
            if newline:
                yield as_text(complete)
            if not block and last:
                break
            if not block:
                await asyncio.sleep(POLL)
        if rest:
            yield as_text(rest)


def read_block(path: Path, offset: int) -> bytes:
    """Read on from ``offset``; nothing where the file is not there yet, or no more."""
    try:
        with path.open("rb") as file:
            file.seek(offset)
            return file.read(BLOCK)
    except FileNotFoundError:
        return b""


def as_text(lines: bytes) -> bytes:
    """Give the lines as people read them: our own lines are JSON in the file."""
    return "".join(parse_line(line).message for line in lines.split(b"\n")).encode()
