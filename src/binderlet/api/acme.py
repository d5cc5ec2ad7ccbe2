"""``/.well-known/acme-challenge/{token}``: what a certificate authority asks for, to see that the host name is ours."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

TOKEN = re.compile(r"[A-Za-z0-9_-]{1,128}")


class Challenges:
    """The endpoint; ``webroot`` is the folder that certbot puts answers into, None where none are expected."""

    def __init__(self, webroot: Path | None) -> None:
        self._webroot = webroot

    async def answer(self, request: Request) -> Response:
        """Answer with the token's text, or 404."""
        token = request.path_params["token"]
        if self._webroot is None or not TOKEN.fullmatch(token):
            return PlainTextResponse("no such challenge\n", 404)
        file = self._webroot / ".well-known" / "acme-challenge" / token
        try:
            return PlainTextResponse(await asyncio.to_thread(file.read_bytes))
        except OSError:
            return PlainTextResponse("no such challenge\n", 404)
