"""``GET /build/{provider}/{spec}``."""

from __future__ import annotations

from typing import Any

import pytest
from starlette.applications import Starlette

from binderlet.api.routes import create_admin_app, create_app
from binderlet.api.tokens import BuildTokens
from binderlet.config.schema import LimitSettings, ServerSettings, Settings
from binderlet.model import Phase, RepoSpec
from support.asgi import STREAM, ask, opened
from support.services import NOW, SECRET, Stage

URL = "/build/gh/owner/repo/HEAD"


def failed(events: list[dict[str, Any]]) -> dict[str, Any]:
    """Give the one event of a refusal."""
    (event,) = events
    assert event["phase"] == "failed"
    assert event["message"].endswith("\n")
    return event


async def test_a_built_image_is_five_events(app: Starlette, stage: Stage) -> None:
    """The stream tells the whole story, numbered, with the token and the session's URL, and any site may read it."""
    answer = await ask(app, URL, STREAM)
    assert answer.status == 200
    assert [event["phase"] for event in answer.events] == ["built", "launching", "launching", "launching", "ready"]
    assert answer.ids == [f"launch-1-{number}" for number in range(1, 6)]
    assert answer.headers["access-control-allow-origin"] == "*"
    assert stage.book.opened[0].request.spec == RepoSpec("gh", "owner/repo/HEAD")


@pytest.mark.parametrize(
    ("target", "spec"),
    [
        ("/build/git/https%3A%2F%2Fexample.org%2Fr.git/main", "https%3A%2F%2Fexample.org%2Fr.git/main"),
        ("/build/git/https%3A%2F%2Fexample.org%2Fr.git/main/", "https%3A%2F%2Fexample.org%2Fr.git/main"),
        ("/build/git/a%2Fb/feature%2Fx?urlpath=lab", "a%2Fb/feature%2Fx"),
        ("/build/git/a%0Ab/x%20y", "a%0Ab/x%20y"),
    ],
)
async def test_the_spec_stays_encoded(app: Starlette, stage: Stage, target: str, spec: str) -> None:
    """The spec is taken from the raw path, without a trailing slash and without the query, whatever is in it."""
    await ask(app, target, STREAM)
    assert stage.book.opened[0].request.spec == RepoSpec("git", spec)


@pytest.mark.parametrize("accept", ["text/event-stream", "text/event-stream, */*", "*/*;q=0.5, Text/Event-Stream;q=1"])
async def test_accept_is_read_leniently(app: Starlette, accept: str) -> None:
    """Any Accept header with the media type in it will do."""
    assert len((await ask(app, URL, {"accept": accept})).events) == 5


@pytest.mark.parametrize(
    ("method", "target", "headers", "status", "code"),
    [
        ("GET", URL, {}, 400, "not_an_event_stream"),
        ("GET", URL, {"accept": "*/*"}, 400, "not_an_event_stream"),
        ("POST", URL, STREAM, 405, "method_not_allowed"),
        ("GET", "/build/", STREAM, 404, "unknown_provider"),
        ("GET", "/build/gh", STREAM, 400, "bad_spec"),
        ("GET", "/build/gh/", STREAM, 400, "bad_spec"),
        ("GET", URL + "?build_only=true", STREAM, 400, "build_only_not_permitted"),
        ("GET", URL + "?build_token=forged", STREAM, 403, "token_invalid"),
    ],
)
async def test_what_is_wrong_is_an_event(
    app: Starlette, stage: Stage, *, method: str, target: str, headers: dict[str, str], status: int, code: str
) -> None:
    """The HTTP status is 200 and one ``failed`` event says what is wrong; no launch begins."""
    answer = await ask(app, target, headers, method=method)
    event = failed(answer.events)
    assert (answer.status, event["status_code"], event["code"]) == (200, status, code)
    assert event["hint"]
    assert answer.headers["access-control-allow-origin"] == "*"
    assert stage.book.opened == []


async def test_head_and_options_are_answered_without_a_launch(app: Starlette, stage: Stage) -> None:
    """A preflight allows the headers that clients send; HEAD has no body."""
    preflight = await ask(app, URL, method="OPTIONS")
    assert (preflight.status, preflight.body) == (200, b"")
    for name in ("authorization", "x-xsrftoken", "cache-control", "accept", "last-event-id"):
        assert name in preflight.headers["access-control-allow-headers"]
    head = await ask(app, URL, STREAM, method="HEAD")
    assert (head.status, head.body) == (200, b"")
    assert stage.book.opened == []


@pytest.mark.parametrize(
    ("query", "headers"),
    [
        ("", {"last-event-id": "launch-1-2"}),
        ("?last_event_id=launch-1-2", {}),
        ("?lastEventId=launch-1-2", {}),
    ],
)
async def test_a_known_launch_is_resumed(app: Starlette, stage: Stage, query: str, headers: dict[str, str]) -> None:
    """With the last event's id the same launch goes on after it; no new one begins, even with a stale token."""
    await ask(app, URL, STREAM)
    joiner = "&" if query else "?"
    answer = await ask(app, f"{URL}{query}{joiner}build_token=stale", {**STREAM, **headers})
    assert answer.ids == ["launch-1-3", "launch-1-4", "launch-1-5"]
    assert len(stage.book.opened) == 1


async def test_a_story_that_is_shorter_by_now(app: Starlette, stage: Stage) -> None:
    """After a restart a launch that was cut off tells its story anew, and who saw more of the old one sees it all."""
    await ask(app, URL, STREAM)
    answer = await ask(app, URL, {**STREAM, "last-event-id": "launch-1-99"})
    assert answer.ids[0] == "launch-1-1"
    assert len(stage.book.opened) == 1


async def test_a_story_that_begins_anew(app: Starlette, stage: Stage) -> None:
    """Who saw the first events of a launch that is told anew sees all of it, and is then told not to come back."""
    await ask(app, URL, STREAM)
    stage.book.opened[0].numbers_from = 1000
    for seen in (2, 5):
        answer = await ask(app, URL, {**STREAM, "last-event-id": f"launch-1-{seen}"})
        assert answer.ids == [f"launch-1-{number}" for number in range(1001, 1006)]
    answer = await ask(app, URL, {**STREAM, "last-event-id": "launch-1-1003"})
    assert answer.ids == ["launch-1-1004", "launch-1-1005"]
    assert (await ask(app, URL, {**STREAM, "last-event-id": "launch-1-1005"})).status == 204


@pytest.mark.parametrize("given", ["launch-9-2", "launch-1-x", "launch-1-²", "-", "nonsense"])
async def test_an_unknown_launch_begins_anew(app: Starlette, stage: Stage, given: str) -> None:
    """An id that is not known here, as after a restart elsewhere, or is no id, is a new launch from its first event."""
    await ask(app, URL, STREAM)
    answer = await ask(app, URL, {**STREAM, "last-event-id": given})
    assert answer.ids[0] == "launch-2-1"


async def test_an_id_of_another_repository_is_not_resumed(app: Starlette) -> None:
    """A stream of one repository never tells about another."""
    await ask(app, URL, STREAM)
    answer = await ask(app, "/build/gh/owner/other/HEAD", {**STREAM, "last-event-id": "launch-1-2"})
    assert answer.ids[0] == "launch-2-1"


async def test_a_client_that_has_seen_all_is_told_not_to_come_back(app: Starlette, stage: Stage) -> None:
    """204 stops an EventSource's reconnecting, which would otherwise launch again and again."""
    await ask(app, URL, STREAM)
    answer = await ask(app, URL, {**STREAM, "last-event-id": "launch-1-5"})
    assert (answer.status, answer.body) == (204, b"")
    assert len(stage.book.opened) == 1


async def test_a_running_launch_is_followed_from_where_it_was_left(app: Starlette, stage: Stage) -> None:
    """A viewer leaves in the middle and comes back to the same launch."""
    stage.book.plan = lambda launch: launch.say(Phase.WAITING, "zero\n")
    async with opened(app, URL, STREAM) as first:
        await first.until("zero")
        launch = stage.book.opened[0]
        launch.say(Phase.WAITING, "one\n")
        await first.until("one")
    async with opened(app, URL, {**STREAM, "last-event-id": "launch-1-2"}) as second:
        launch.say(Phase.WAITING, "two\n")
        await second.until("two")
        launch.ready()
        await second.finished.wait()
    assert second.answer.events[0]["message"] == "two\n"
    assert len(stage.book.opened) == 1


async def test_what_the_visitor_is_goes_with_the_request(app: Starlette, stage: Stage) -> None:
    """Address, origin and public URL are read from the request as the proxy handed it on."""
    headers = {
        **STREAM,
        "host": "binder.example.org",
        "origin": "https://gallery.test",
        "x-forwarded-for": "198.51.100.7",
        "x-forwarded-proto": "https",
    }
    await ask(app, URL, headers)
    request = stage.book.opened[0].request
    assert (request.host, request.client) == ("https://binder.example.org/", "198.51.100.7")
    assert (request.origin, request.request_origin) == ("gallery.test", "https://gallery.test")
    assert (request.build_only, request.build_token) == (False, False)


async def test_a_valid_token_is_noted(app: Starlette, stage: Stage) -> None:
    """A token that the launch page carries passes and is told to the launch."""
    token = BuildTokens(SECRET).make("gh", "owner/repo/HEAD", "binder.test", NOW)
    await ask(app, f"{URL}/?build_token={token}", STREAM)
    assert stage.book.opened[0].request.build_token


@pytest.fixture
def banning(stage: Stage) -> Starlette:
    """A service that a crawler's network may not use."""
    return create_app(stage.services(Settings(limits=LimitSettings(banned_networks={"203.0.113.0/24": "a crawler"}))))


async def test_banned_networks_do_not_launch(banning: Starlette, stage: Stage) -> None:
    """They are told so by an event, and nothing is begun for them; others launch."""
    answer = await ask(banning, URL, STREAM | {"x-forwarded-for": "203.0.113.7"})
    assert failed(answer.events)["message"].startswith("Requests from a crawler are not allowed.")
    assert not stage.book.opened
    assert len((await ask(banning, URL, STREAM | {"x-forwarded-for": "203.0.114.7"})).events) == 5


@pytest.fixture
def limited(stage: Stage) -> Starlette:
    """A service that allows two launches an hour."""
    return create_app(stage.services(Settings(limits=LimitSettings(launches_per_hour=2))))


async def test_the_rate_is_limited_and_says_when_to_come_back(limited: Starlette, stage: Stage) -> None:
    """The third launch is refused with the seconds left, in the event and in Retry-After; another client's is not."""
    first = await ask(limited, URL, STREAM)
    assert (first.headers["x-ratelimit-limit"], first.headers["x-ratelimit-remaining"]) == ("2", "1")
    await ask(limited, URL, STREAM)
    stage.now += 600
    refused = await ask(limited, URL, STREAM)
    event = failed(refused.events)
    assert (event["status_code"], event["retry_after"], refused.headers["retry-after"]) == (429, 3000, "3000")
    assert "retry-after" in refused.headers["access-control-expose-headers"]
    assert len((await ask(limited, URL, {**STREAM, "x-forwarded-for": "198.51.100.7"})).events) == 5


@pytest.mark.parametrize("target", ["/build/nosuch/x/y", "/build/gh/no-ref", URL + "?build_only=true"])
async def test_nonsense_is_not_charged(limited: Starlette, target: str) -> None:
    """A link with a slip in it costs none of the launches."""
    for _ in range(5):
        await ask(limited, target, STREAM)
    assert (await ask(limited, URL, STREAM)).headers["x-ratelimit-remaining"] == "1"


async def test_tokens_and_resumption_are_not_charged(limited: Starlette) -> None:
    """Visitors of the launch page and viewers who come back are not limited."""
    token = BuildTokens(SECRET).make("gh", "owner/repo/HEAD", "binder.test", NOW)
    for _ in range(5):
        await ask(limited, f"{URL}?build_token={token}", STREAM)
        await ask(limited, URL, {**STREAM, "last-event-id": "launch-1-1"})
    assert (await ask(limited, URL, STREAM)).headers["x-ratelimit-remaining"] == "1"


async def test_the_operator_may_only_build(admin: Starlette, stage: Stage) -> None:
    """On the private socket build_only works, and sessions get the address of this machine."""
    await ask(admin, URL + "?build_only=True", STREAM, client=None)
    request = stage.book.opened[0].request
    assert (request.build_only, request.host) == (True, "http://127.0.0.1:8585/")


async def test_the_operators_links_use_the_public_url(stage: Stage, public_admin: Starlette) -> None:
    """Where a public URL is configured, sessions of the command line have it too."""
    await ask(public_admin, URL, STREAM, client=None)
    assert stage.book.opened[0].request.host == "https://binder.example.org/"


@pytest.fixture
def public_admin(stage: Stage) -> Starlette:
    """The operator's service of a public site."""
    return create_admin_app(stage.services(Settings(server=ServerSettings(public_url="https://binder.example.org"))))
