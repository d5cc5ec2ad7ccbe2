"""Errors as people and programs want them: a page, a JSON object, or a ``failed`` event."""

from __future__ import annotations

import math

import structlog
from starlette.datastructures import Headers
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from binderlet.api.ports import Page
from binderlet.errors import BinderletError, Refused
from binderlet.events.kinds import LaunchEvent
from binderlet.launch.words import failed_event

log = structlog.get_logger(__name__)


class Problem(BinderletError):
    """An error of the HTTP side alone, with a status of its own."""

    def __init__(self, status: int, code: str, message: str, hint: str) -> None:
        super().__init__(message, hint=hint)
        self.status = status  # type: ignore[misc] # one class for the few statuses that only HTTP knows
        self.code = code  # type: ignore[misc] # same


def retry_headers(error: BinderletError) -> dict[str, str]:
    """Give ``Retry-After`` where the error knows when to come back."""
    if isinstance(error, Refused) and error.retry_after is not None:
        return {"retry-after": str(math.ceil(error.retry_after))}
    return {}


def as_event(error: BinderletError) -> LaunchEvent:
    """Give the ``failed`` event; a refusal that ends at some time has ``retry_after`` in seconds."""
    event = failed_event(error)
    wait = retry_headers(error).get("retry-after")
    return (
        event if wait is None else LaunchEvent(event.phase, event.message, {**event.fields, "retry_after": int(wait)})
    )


def as_json(error: BinderletError) -> JSONResponse:
    """Give the JSON answer: what happened, a code for programs, and what to do next."""
    body = {"message": error.message, "code": error.code, "hint": error.hint}
    return JSONResponse(body, error.status, headers=retry_headers(error))


def as_html(page: Page, status: int = 200) -> HTMLResponse:
    """Give a page with the headers that keep it from being framed, sniffed or scripted by others."""
    headers = {
        "content-security-policy": page.csp,
        "referrer-policy": "same-origin",
        "x-content-type-options": "nosniff",
        "cache-control": "no-store" if status >= 400 else "no-cache",  # noqa: PLR2004 - errors begin at 400
    }
    return HTMLResponse(page.html, status, headers=headers)


def wants_page(headers: Headers) -> bool:
    """Tell whether a person's browser asks, and not a program."""
    return "text/html" in headers.get("accept", "")


def answer(error: BinderletError, headers: Headers, page: Page) -> Response:
    """Give the page to people and the JSON to programs."""
    if not wants_page(headers):
        return as_json(error)
    response = as_html(page, error.status)
    response.headers.update(retry_headers(error))
    return response


class Guard:
    """Answers a bug of ours with JSON and a line in the log, inside the CORS headers."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on."""
        started = False

        async def send_and_note(message: Message) -> None:
            nonlocal started
            started = True
            await send(message)

        try:
            await self._app(scope, receive, send_and_note)
        except Exception:
            log.exception("request failed", path=scope.get("path", ""))
            if started:
                raise
            message = "Something went wrong inside this service."
            problem = Problem(500, "internal_error", message, "Try again; the operators find the reason in the log.")
            await as_json(problem)(scope, receive, send)
