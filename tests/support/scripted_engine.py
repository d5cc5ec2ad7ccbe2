"""An engine's API that answers by script, for what real engines do too seldom to test."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from aiohttp import web

DOCKER = {"Version": "20.10.24+dfsg1", "ApiVersion": "1.41", "Components": [{"Name": "Engine"}]}
PODMAN = {"Version": "4.3.1", "ApiVersion": "1.41", "Components": [{"Name": "Podman Engine"}, {"Name": "Conmon"}]}

Answer = tuple[int, Any]
"""Status and JSON; bytes go out as they are, ``HANG`` never comes."""

HANG: Answer = (0, None)


class ScriptedEngine:
    """Answers each ``"METHOD path"`` with what is scripted for it: one after the other, the last for ever."""

    def __init__(self, socket_path: Path) -> None:
        self.socket_path = socket_path
        self.script: dict[str, list[Answer]] = {"GET version": [(200, DOCKER)]}
        self.calls: list[tuple[str, dict[str, str], Any]] = []
        """What was asked, in order: ``METHOD path``, parameters and JSON body."""

    def answer(self, call: str, *answers: Answer) -> None:
        """Script the answers to a call."""
        self.script[call] = list(answers)

    def asked(self) -> list[str]:
        """Give the calls, without those for the version."""
        return [call for call, _, _ in self.calls if call != "GET version"]

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Answer one call."""
        call = f"{request.method} {request.path.removeprefix('/v1.41').strip('/')}"
        body = await request.read()
        self.calls.append((call, dict(request.query), json.loads(body) if body else None))
        answers = self.script.get(call, [(404, {"message": f"page not found: {call}"})])
        status, said = answers[0] if len(answers) == 1 else answers.pop(0)
        if (status, said) == HANG:
            await asyncio.Event().wait()
        if isinstance(said, bytes):
            return web.Response(status=status, body=said)
        if said is None:
            return web.Response(status=status)
        # Engines say nothing of a charset, and aiodocker would not know JSON by such a type.
        return web.Response(status=status, body=json.dumps(said).encode(), content_type="application/json")


@asynccontextmanager
async def scripted_engine(folder: Path) -> AsyncIterator[ScriptedEngine]:
    """Serve a scripted engine on a socket in ``folder``."""
    engine = ScriptedEngine(folder / "engine.sock")
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", engine.handle)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.UnixSite(runner, str(engine.socket_path)).start()
    try:
        yield engine
    finally:
        await runner.cleanup()
