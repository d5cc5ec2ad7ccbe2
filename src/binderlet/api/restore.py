"""Bringing images back from the registry, on the operator's socket."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from binderlet.api.errors import Problem, as_json
from binderlet.api.ports import Restorer, Services
from binderlet.errors import BinderletError, ImagesUnavailable


class Restore:
    """The endpoints; ``restorer`` is None where there is no registry."""

    def __init__(self, restorer: Restorer | None) -> None:
        self._restorer = restorer

    async def begin(self, request: Request) -> Response:
        """Begin to bring back ``count`` images of ``bytes`` at most, and say how far that is."""
        try:
            count, room = (int(request.query_params.get(name, "")) for name in ("count", "bytes"))
        except ValueError:
            return as_json(Problem(400, "bad_request", "How many?", "Add ?count=20&bytes=20000000000 to the URL."))
        try:
            await self._known.begin(count, room)
        except BinderletError as error:
            return as_json(error)
        return JSONResponse(self._known.progress(), 202)

    async def progress(self, _request: Request) -> Response:
        """Say how far it is."""
        try:
            return JSONResponse(self._known.progress())
        except BinderletError as error:
            return as_json(error)

    @property
    def _known(self) -> Restorer:
        if self._restorer is None:
            raise ImagesUnavailable("There is no registry to restore from.", hint="Set registry.s3 or registry.url.")
        return self._restorer


def restore_routes(services: Services) -> list[Route]:
    """Give the operator's URLs."""
    restore = Restore(services.restorer)
    return [
        Route("/images/restore", restore.progress),
        Route("/images/restore", restore.begin, methods=["POST"]),
    ]
