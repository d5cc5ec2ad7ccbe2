"""Errors as pages, JSON and events."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from starlette.datastructures import Headers
from starlette.types import Receive, Scope, Send
from structlog.testing import capture_logs

from binderlet.api.errors import Guard, Problem, answer, as_event, as_html, as_json, retry_headers
from binderlet.errors import Full, RateLimited, RefNotFound
from support.asgi import ask


@dataclass
class AnyPage:
    """A page."""

    html: str = "<h1>no</h1>"
    csp: str = "default-src 'none'"


def test_json_has_message_code_and_hint() -> None:
    """Programs get a code to act on."""
    response = as_json(RefNotFound("There is no branch x."))
    assert response.status_code == 404
    assert response.body == (
        b'{"message":"There is no branch x.","code":"ref_not_found",'
        b'"hint":"HEAD always means the repository\'s default branch."}'
    )


def test_a_refusal_says_when_to_come_back() -> None:
    """Whole seconds, rounded up, in the header and in the event; no such thing where it never helps."""
    error = RateLimited("Too many.", retry_after=1.2)
    assert retry_headers(error) == {"retry-after": "2"}
    assert as_event(error).fields["retry_after"] == 2
    assert retry_headers(Full("Full.")) == {}
    assert "retry_after" not in as_event(Full("Full.")).fields


def test_an_event_has_status_code_and_hint() -> None:
    """The ``failed`` event carries all that the JSON has."""
    event = as_event(Problem(405, "method_not_allowed", "No.", "Use GET."))
    assert (event.phase, event.message) == ("failed", "No.\nUse GET.\n")
    assert event.fields == {"status_code": 405, "code": "method_not_allowed", "hint": "Use GET."}


@pytest.mark.parametrize(("accept", "kind"), [("text/html,*/*", "text/html"), ("*/*", "application/json")])
def test_people_get_a_page(accept: str, kind: str) -> None:
    """A browser is shown a page, a program gets JSON, both with status and Retry-After."""
    response = answer(RateLimited("Too many.", retry_after=3), Headers({"accept": accept}), AnyPage())
    assert response.headers["content-type"].startswith(kind)
    assert (response.status_code, response.headers["retry-after"]) == (429, "3")


def test_a_page_is_guarded() -> None:
    """A page has its policy, may not be sniffed, and tells other sites nothing."""
    response = as_html(AnyPage())
    assert response.headers["content-security-policy"] == "default-src 'none'"
    assert response.headers["x-content-type-options"] == "nosniff"
    assert response.headers["referrer-policy"] == "same-origin"
    assert response.headers["cache-control"] == "no-cache"
    assert as_html(AnyPage(), 404).headers["cache-control"] == "no-store"


async def test_a_bug_is_a_clean_500() -> None:
    """An unforeseen error does not show its text to visitors."""

    async def broken(scope: Scope, receive: Receive, send: Send) -> None:
        """Fail in a way nobody foresaw."""
        raise RuntimeError("secret detail")

    with capture_logs() as logs:
        answer = await ask(Guard(broken), "/x")
    assert (answer.status, answer.json()["code"]) == (500, "internal_error")
    assert "secret" not in answer.text
    assert (logs[0]["event"], logs[0]["path"], logs[0]["exc_info"]) == ("request failed", "/x", True)


async def test_a_bug_in_the_middle_ends_the_answer() -> None:
    """Where the answer has begun, nothing can be put right: the server cuts it off."""

    async def broken(scope: Scope, receive: Receive, send: Send) -> None:
        """Fail in a way nobody foresaw."""
        await send({"type": "http.response.start", "status": 200, "headers": []})
        raise RuntimeError("in the middle")

    with capture_logs(), pytest.raises(ExceptionGroup):
        await ask(Guard(broken), "/x")
