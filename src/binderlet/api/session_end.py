"""``/api/sessions/<id>/end``: when a session ends, or why it did, for the pages that its visitors have open."""

from __future__ import annotations

from dataclasses import asdict

from starlette.requests import Request
from starlette.responses import JSONResponse

from binderlet.api.errors import Problem, as_json
from binderlet.api.ports import Services


class SessionEnds:
    """The endpoint. A session's id is only known to those who have its address."""

    def __init__(self, services: Services) -> None:
        self._services = services

    async def answer(self, request: Request) -> JSONResponse:
        """Answer from memory; 404 for a session that never was or ended long ago."""
        end = self._services.session_end(request.path_params["session_id"])
        if end is None:
            return as_json(Problem(404, "session_unknown", "Nothing is known of this session.", "It may have ended."))
        body = {"ended": end.ends_in is None, **asdict(end)}
        return JSONResponse(body, headers={"cache-control": "no-store"})
