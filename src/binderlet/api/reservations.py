"""Reservations: on the operator's socket to be made and dropped, on the status page to be seen."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from binderlet.api.errors import as_json
from binderlet.api.ports import Desk, Services
from binderlet.errors import BadSpec, BinderletError
from binderlet.model import RepoSpec
from binderlet.sessions.standby import Reservation

CREATED, GONE = 201, 204


def reservation_body(reservation: Reservation, ready: int) -> dict[str, Any]:
    """Give a reservation as JSON; times are seconds since the epoch."""
    return {
        "id": reservation.id,
        "provider": reservation.spec.provider,
        "spec": reservation.spec.spec,
        "count": reservation.count,
        "from": reservation.begins,
        "to": reservation.ends,
        "ready": ready,
        "launched": reservation.launched,
        "problem": reservation.problem,
    }


def reservations_body(services: Services) -> list[dict[str, Any]]:
    """Give all reservations that have not ended, from memory."""
    return [reservation_body(*one) for one in services.desk.all()] if services.desk else []


class Reservations:
    """The endpoints on the operator's socket."""

    def __init__(self, services: Services, desk: Desk) -> None:
        self._services = services
        self._desk = desk

    async def listing(self, _request: Request) -> JSONResponse:
        """List them."""
        return JSONResponse(reservations_body(self._services))

    async def reserve(self, request: Request) -> Response:
        """Make one of the query's ``provider``, ``spec``, ``count``, ``from`` and ``to``; the error as JSON."""
        query = request.query_params
        try:
            spec = RepoSpec(query.get("provider", ""), query.get("spec", ""))
            count, begins, ends = _numbers(query.get("count"), query.get("from"), query.get("to"))
            made = await self._desk.reserve(spec, count, begins, ends, now=self._services.clock())
        except BinderletError as error:
            return as_json(error)
        return JSONResponse(reservation_body(made, 0), CREATED)

    async def cancel(self, request: Request) -> Response:
        """Drop one: 204, or the error as JSON."""
        try:
            await self._desk.cancel(request.path_params["reservation_id"])
        except BinderletError as error:
            return as_json(error)
        return Response(status_code=GONE)


def _numbers(count: str | None, begins: str | None, ends: str | None) -> tuple[int, float, float]:
    try:
        return int(count or ""), float(begins or ""), float(ends or "")
    except ValueError:
        hint = "Give count as a whole number, and from and to in seconds since the epoch."
        raise BadSpec("The reservation's numbers cannot be read.", hint=hint) from None
