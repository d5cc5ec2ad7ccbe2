"""What is kept on the disk, on the operator's socket: list, explain, pin, tidy; and the sums for the status page."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from binderlet.api.errors import as_json
from binderlet.api.ports import Services, Storage
from binderlet.errors import BadSpec, BinderletError, NotFound
from binderlet.images.ledger import matching, rows, step_body

GONE = 204


class Images:
    """The endpoints."""

    def __init__(self, storage: Storage) -> None:
        self._keeper = storage.housekeeper

    def routes(self) -> list[Route]:
        """Give the operator's URLs."""
        return [
            Route("/images", self.listing),
            Route("/images/why", self.why),
            Route("/images/prune", self.prune, methods=["POST"]),
            Route("/images/pins", self.pins),
            Route("/images/pins", self.pin, methods=["POST"]),
            Route("/images/pins", self.unpin, methods=["DELETE"]),
        ]

    async def listing(self, _request: Request) -> Response:
        """List all that is kept, as measured now; the error as JSON."""
        try:
            return JSONResponse(await self._rows())
        except BinderletError as error:
            return as_json(error)

    async def why(self, request: Request) -> Response:
        """Give the rows that the query's ``name`` means."""
        name = request.query_params.get("name", "")
        try:
            found = matching(await self._rows(), name)
            if not found:
                raise NotFound(
                    f"Nothing that is kept is called {name!r}.", hint="'binderlet images list' has the names."
                )
        except BinderletError as error:
            return as_json(error)
        return JSONResponse(found)

    async def prune(self, request: Request) -> Response:
        """Remove what is worth least, by the budget or to free the query's ``bytes``; ``dry_run`` only tells."""
        query = request.query_params
        try:
            steps = await self._keeper.prune(_whole(query.get("bytes", "0")), dry_run=query.get("dry_run") == "1")
        except BinderletError as error:
            return as_json(error)
        return JSONResponse([step_body(step) for step in steps])

    async def pins(self, _request: Request) -> JSONResponse:
        """List the pins."""
        return self._pins()

    async def pin(self, request: Request) -> Response:
        """Pin the query's ``name``; gives all pins, or the error as JSON."""
        name = request.query_params.get("name", "").strip()
        if not name:
            return as_json(BadSpec("What should be pinned?", hint="Give the name of an image, repository or owner."))
        await self._keeper.pin(name)
        return self._pins()

    async def unpin(self, request: Request) -> Response:
        """Take a pin off: 204, or the error as JSON."""
        name = request.query_params.get("name", "")
        if await self._keeper.unpin(name):
            return Response(status_code=GONE)
        fixed = self._keeper.pins.is_fixed(name)
        hint = "Take it out of disk.pins in the settings." if fixed else "'binderlet images pin --list' has the pins."
        return as_json(NotFound(f"{name!r} is not pinned by 'binderlet images pin'.", hint=hint))

    def _pins(self) -> JSONResponse:
        pins = self._keeper.pins
        return JSONResponse([{"name": name, "fixed": pins.is_fixed(name)} for name in pins.all])

    async def _rows(self) -> list[dict[str, Any]]:
        survey = await self._keeper.measure()
        return rows(survey.items, self._keeper.rules, survey.at)


def _whole(text: str) -> int:
    try:
        return max(0, int(text))
    except ValueError:
        raise BadSpec(f"{text!r} is no number of bytes.", hint="Give it as ?bytes=1000000000.") from None


def storage_body(services: Services) -> dict[str, Any] | None:
    """Give the sums of what is kept; None where nobody looks after it."""
    return dict(services.storage.body()) if services.storage else None


def image_routes(services: Services) -> list[Route]:
    """Give the operator's URLs for what is kept."""
    return Images(services.storage).routes() if services.storage else []
