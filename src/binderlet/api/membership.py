"""Taking part in a federation: which images are here, and on the operator's socket what is wanted of redirectors."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from binderlet.api.errors import Problem, as_json
from binderlet.api.ports import Membership, Services
from binderlet.errors import BinderletError

YES_NO = {"true": True, "false": False}


class Wishes:
    """The endpoints."""

    def __init__(self, services: Services) -> None:
        self._membership = services.membership

    @property
    def _member(self) -> Membership:
        if self._membership is None:
            raise RuntimeError("these URLs are for members of a federation alone")
        return self._membership

    async def images(self, _request: Request) -> JSONResponse:
        """List the repositories whose image is here, by hashes: redirectors prefer who has one."""
        return JSONResponse({"format": 1, "repositories": list(self._member.repositories())})

    async def wish(self, request: Request) -> Response:
        """Give what the operator wants; POST changes it by ``draining`` and ``share`` of the query."""
        query = request.query_params
        try:
            draining = YES_NO[query["draining"]] if "draining" in query else None
            share = float(query["share"]) if "share" in query else None
        except (KeyError, ValueError):
            draining, share = None, -1.0
        if share is not None and not 0 <= share <= 1:
            problem = Problem(
                400, "bad_request", "That makes no sense.", "?draining=true or false, ?share=0.25 up to 1"
            )
            return as_json(problem)
        if request.method == "POST":
            try:
                await self._member.wish(draining=draining, share=share)
            except BinderletError as error:
                return as_json(error)
        return JSONResponse(dict(self._member.wishes()))
