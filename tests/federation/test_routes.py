"""Every URL of the redirector."""

from __future__ import annotations

import json

from starlette.types import Receive, Scope, Send

from binderlet.federation.redirector import Redirector
from binderlet.federation.routes import App, overview, reply, taken_apart
from support.asgi import ask
from support.federation import federation, well


async def pages(_scope: Scope, _receive: Receive, send: Send) -> None:
    """Stand in for the pages."""
    await reply(send, 200, b"page", ())


def app(badges: str = "https://static.test") -> App:
    """A redirector of one member."""
    redirector = Redirector(federation({"a": 1}, badges=badges))
    redirector.learn("a", well(quota=100, total=5))
    return App(redirector, pages)


async def test_launches() -> None:
    """A launch is sent on by any method that reads; its path stays percent-encoded."""
    for method in ("GET", "HEAD"):
        answer = await ask(app(), "/build/git/https%3A%2F%2Fx/HEAD?a=b", method=method)
        assert (answer.status, answer.body) == (307, b"")
        assert answer.headers["location"] == "https://a.test/build/git/https%3A%2F%2Fx/HEAD?a=b"
        assert answer.headers["access-control-allow-origin"] == "*"
    assert (await ask(app(), "/build/gh/o/r/HEAD", method="POST")).status == 405
    assert (await ask(app(), "/build/gh/ä/r/HEAD")).status == 400
    assert (await ask(app(), "/build/gh/o/r/HEAD", method="OPTIONS")).headers["access-control-allow-origin"] == "*"


async def test_badges() -> None:
    """Badges are redirected to where they are kept, or come from the prime."""
    for path, name in (
        ("/badge.svg", "badge"),
        ("/badge_logo.svg", "badge_logo"),
        ("/assets/images/badge.svg", "badge"),
    ):
        answer = await ask(app(), path)
        assert (answer.status, answer.headers["location"]) == (301, f"https://static.test/{name}.svg")
    assert (await ask(app(badges=""), "/badge.svg")).body == b"page"


async def test_what_it_says_of_itself() -> None:
    """Active hosts, metrics and the state of all members can be read by every site."""
    hosts = await ask(app(), "/active_hosts")
    assert json.loads(hosts.body)["active_hosts"]["a"]["url"] == "https://a.test"
    assert hosts.headers["access-control-allow-origin"] == "*"
    assert b'federation_health{member="a",reason=""} 1.0' in (await ask(app(), "/metrics")).body
    assert json.loads((await ask(app(), "/federation/health")).body) == {"ok": True}
    assert (await ask(app(), "/federation/health", method="HEAD")).body == b""
    told = json.loads((await ask(app(), "/federation")).body)
    assert (told["url"], told["members"][0]["room"]) == ("https://fed.test", {"quota": 100, "total": 5})


async def test_the_rest() -> None:
    """Everything else is a page."""
    assert (await ask(app(), "/v2/gh/o/r/HEAD")).body == b"page"


def test_overview() -> None:
    """The overview counts what each member was given, and says why a member gets nothing."""
    redirector = Redirector(federation({"a": 1, "b": 1}))
    redirector.learn("a", well())
    for number in range(3):
        redirector.give(b"/build/gh/o/r%d/x" % number, b"")
    first, second = overview(redirector)["members"]
    assert (first["redirected"], first["state"], first["room"]) == (3, "up", None)
    assert (second["effective_weight"], second["reason"], second["state"]) == (0, "not asked yet", "unknown")


def test_an_answer_taken_apart() -> None:
    """Bytes become status and headers; the server dates its own."""
    raw = b"HTTP/1.1 307 Temporary Redirect\r\na: b: c\r\ndate: x\r\n\r\n"
    assert taken_apart(raw) == (307, [(b"a", b"b: c")])
