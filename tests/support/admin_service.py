"""A small stand-in for the running service's private socket, for tests of the command line."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aiohttp import web

STATUS = {
    "ok": True,
    "draining": False,
    "sessions": 1,
    "session_limit": 40,
    "launches_waiting": 2,
    "builds_running": 0,
    "builds_waiting": 0,
    "uptime_seconds": 75,
    "checks": [
        {"service": "Engine", "ok": True},
        {"service": "Disk", "ok": False, "message": "nearly full", "_ignore_failure": True},
    ],
    "version": "0.1.0",
}
SESSION = {
    "id": "r-abc",
    "state": "running",
    "repo_url": "https://github.com/o/a-rather-long-name-of-a-repository",
    "created_at": 1000.0,
    "idle_seconds": 61.0,
    "url": "http://127.0.0.1:8585/user/r-abc/",
}
READY = {"phase": "ready", "message": "running\n", "url": "http://127.0.0.1:8585/user/r-abc/", "token": "t0k"}
BUILT = {"phase": "ready", "message": "Done! Image built\n", "imageName": "binderlet/i-x:1"}


@dataclass
class AdminService:
    """What it answers, and what it was asked."""

    status: dict[str, Any] = field(default_factory=lambda: dict(STATUS))
    sessions: list[dict[str, Any]] = field(default_factory=lambda: [dict(SESSION)])
    events: list[dict[str, Any]] = field(default_factory=lambda: [{"phase": "building", "message": "Step 1\n"}, READY])
    breaks_after: int = 0
    """Cut the first connection of a stream after this many events."""
    asked: list[str] = field(default_factory=list)
    resumed_from: list[str] = field(default_factory=list)
    ended: threading.Event = field(default_factory=threading.Event)

    def app(self) -> web.Application:
        """The URLs."""
        app = web.Application(middlewares=[self._note])
        app.router.add_get("/status", self._status)
        app.router.add_get("/sessions", self._list)
        app.router.add_delete("/sessions/{id}", self._stop)
        app.router.add_post("/sessions/{id}/extend", self._extend)
        app.router.add_post("/shutdown", self._shutdown)
        app.router.add_get("/build/{spec:.*}", self._build)
        app.router.add_get("/broken", self._broken)
        return app

    @web.middleware
    async def _note(self, request: web.Request, handler: Any) -> web.StreamResponse:  # noqa: ANN401 - aiohttp's own
        self.asked.append(f"{request.method} {request.raw_path}")
        answer: web.StreamResponse = await handler(request)
        return answer

    async def _status(self, _request: web.Request) -> web.Response:
        return web.json_response(self.status)

    async def _list(self, _request: web.Request) -> web.Response:
        return web.json_response(self.sessions)

    async def _broken(self, _request: web.Request) -> web.Response:
        return web.Response(status=500, text="<html>")

    async def _stop(self, request: web.Request) -> web.Response:
        if request.match_info["id"] in {session["id"] for session in self.sessions}:
            return web.Response(status=204)
        told = {"message": "No session of that id runs here.", "code": "session_not_found", "hint": "Look."}
        return web.json_response(told, status=404)

    async def _extend(self, _request: web.Request) -> web.Response:
        return web.json_response({"until": 1_800_000_000.0})

    async def _shutdown(self, _request: web.Request) -> web.Response:
        self.ended.set()
        return web.json_response({"stopping": True}, status=202)

    async def _build(self, request: web.Request) -> web.StreamResponse:
        last = request.headers.get("Last-Event-ID", "")
        self.resumed_from.append(last)
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        for number, event in enumerate(self.events[int(last or 0) :], start=int(last or 0) + 1):
            await response.write(f"id: {number}\ndata: {json.dumps(event)}\n\n".encode())
            if number == self.breaks_after and not last:
                break
        return response


@contextmanager
def running(state: Path, service: AdminService) -> Iterator[AdminService]:
    """Run it in a thread of its own, until the block or the service ends."""
    started, stop = threading.Event(), threading.Event()
    socket = state / "run" / "admin.sock"
    socket.parent.mkdir(parents=True, exist_ok=True)

    async def serve() -> None:
        runner = web.AppRunner(service.app())
        await runner.setup()
        await web.UnixSite(runner, str(socket)).start()
        started.set()
        while not stop.is_set() and not service.ended.is_set():  # noqa: ASYNC110 - both are set by other threads
            await asyncio.sleep(0.01)
        await runner.cleanup()

    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    started.wait(5)
    try:
        yield service
    finally:
        stop.set()
        thread.join(5)
