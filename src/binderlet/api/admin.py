"""What the command line asks for, on a unix socket that only this machine's operator can open."""

from __future__ import annotations

import math
from dataclasses import asdict
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from binderlet.api.errors import Problem, as_json
from binderlet.api.health import status_body
from binderlet.api.images import storage_body
from binderlet.api.ports import BuildView, Services, SessionView
from binderlet.api.reservations import reservations_body
from binderlet.errors import BinderletError


def session_body(view: SessionView, now: float) -> dict[str, Any]:
    """Give a session as JSON, without its token."""
    session, traffic = view.session, view.traffic
    return {
        "id": session.id,
        "state": str(session.state),
        "provider": session.provider,
        "spec": session.spec,
        "repo_url": session.repo_url,
        "image": session.image,
        "created_at": session.created_at,
        "age_seconds": round(now - session.created_at, 1),
        "idle_seconds": round(view.idle_seconds, 1),
        "url": view.url,
        "traffic": asdict(traffic) if traffic else None,
    }


def build_body(view: BuildView) -> dict[str, Any]:
    """Give a build as JSON."""
    return {**asdict(view), "log": f"/api/builds/{view.id}/log"}


def positive(text: str) -> float | None:
    """Read a number above nothing; None where it is none."""
    try:
        number = float(text)
    except ValueError:
        return None
    return number if 0 < number < math.inf else None


class Admin:
    """The endpoints."""

    def __init__(self, services: Services) -> None:
        self._services = services

    async def status(self, _request: Request) -> JSONResponse:
        """Answer with the snapshot of the service."""
        services = self._services
        body = status_body(services.status(), services.clock())
        more = {"reservations": reservations_body(services), "storage": storage_body(services)}
        return JSONResponse({**body, **more, "version": services.version})

    async def sessions(self, _request: Request) -> JSONResponse:
        """List the sessions."""
        services = self._services
        now = services.clock()
        return JSONResponse([session_body(view, now) for view in services.operations.sessions()])

    async def stop(self, request: Request) -> Response:
        """End a session: 204, or the error as JSON."""
        try:
            await self._services.operations.stop(request.path_params["session_id"])
        except BinderletError as error:
            return as_json(error)
        return Response(status_code=204)

    async def extend(self, request: Request) -> Response:
        """Let a session stay for ``seconds``: until when, or the error as JSON."""
        seconds = positive(request.query_params.get("seconds", ""))
        if seconds is None:
            return as_json(Problem(400, "bad_request", "How many seconds?", "Add ?seconds=3600 to the URL."))
        try:
            until = await self._services.operations.extend(request.path_params["session_id"], seconds)
        except BinderletError as error:
            return as_json(error)
        return JSONResponse({"until": until})

    async def builds(self, _request: Request) -> JSONResponse:
        """List the builds."""
        return JSONResponse([build_body(view) for view in self._services.builds()])

    async def shutdown(self, _request: Request) -> JSONResponse:
        """Ask the service to end."""
        self._services.operations.shutdown()
        return JSONResponse({"stopping": True}, 202)
