"""A small API server in this process that keeps one Lease, and lists pods that tests put there."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from binderlet.clients.kubernetes import KubernetesClient
from binderlet.clients.kubernetes_access import Access

Json = dict[str, Any]
NAMESPACE = "binder"
LEASES = f"/apis/coordination.k8s.io/v1/namespaces/{NAMESPACE}/leases"


@dataclass
class LeaseApi:
    """The server, and what tests make it do by plain attributes."""

    lease: Json | None = None
    pods: list[Json] = field(default_factory=list)
    fails: int = 0
    """Status of every answer, while set."""
    silent: bool = False
    """Whether nothing is answered."""
    faster: Json | None = None
    """What somebody else writes just before the next write."""
    writes: int = 0
    version: int = 0
    port: int = 0

    def put(self, lease: Json) -> Json:
        """Have this Lease."""
        self.version += 1
        self.lease = {**lease, "metadata": {**lease["metadata"], "resourceVersion": str(self.version)}}
        return self.lease

    async def answer(self, request: web.Request) -> web.Response:
        """Answer as the cluster would."""
        while self.silent:  # noqa: ASYNC110 - tests set a plain attribute
            await asyncio.sleep(0.01)
        if self.fails:
            return _refuse(self.fails, "Broken")
        if request.path.endswith("/pods"):
            return web.json_response({"metadata": {}, "items": self.pods})
        if request.method == "GET":
            return web.json_response(self.lease) if self.lease else _refuse(404, "NotFound")
        if self.faster is not None:
            self.put(self.faster)
            self.faster = None
        return self._write(request.method, await request.json())

    def _write(self, method: str, wanted: Json) -> web.Response:
        if method == "PUT" and self.lease is None:
            return _refuse(404, "NotFound")
        known = self.lease["metadata"]["resourceVersion"] if self.lease else None
        if wanted["metadata"].get("resourceVersion") != known:
            return _refuse(409, "Conflict")
        self.writes += 1
        return web.json_response(self.put(wanted))


def _refuse(status: int, reason: str) -> web.Response:
    return web.json_response({"reason": reason, "message": f"it is {reason}"}, status=status)


@asynccontextmanager
async def lease_api() -> AsyncIterator[tuple[LeaseApi, KubernetesClient]]:
    """Serve one on a free port, and open a client of it."""
    api = LeaseApi()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", api.answer)
    runner = web.AppRunner(app, shutdown_timeout=0.05, handle_signals=False, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    api.port = runner.addresses[0][1]
    client = KubernetesClient(Access(f"http://127.0.0.1:{api.port}", NAMESPACE, None))
    try:
        yield api, client
    finally:
        api.silent = False
        await client.close()
        await runner.cleanup()
