"""Pages come from a prime, from the next one, from any member, from memory, and in the end there is a kind word."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import aiohttp
import pytest

from binderlet.federation.config import Federation
from binderlet.federation.pages import Cache, Page, Pages
from binderlet.federation.redirector import Redirector
from binderlet.federation.report import unreachable
from support.asgi import ask
from support.federation import well
from support.members import FakeMember, silent


@pytest.fixture
def members() -> Iterator[list[FakeMember]]:
    """A prime and another member."""
    made = [FakeMember("p").start(), FakeMember("m").start()]
    yield made
    for member in made:
        member.close()


@pytest.fixture
async def client() -> AsyncIterator[aiohttp.ClientSession]:
    """The client for pages."""
    async with aiohttp.ClientSession(auto_decompress=False) as session:
        yield session


def made(
    members: list[FakeMember], client: aiohttp.ClientSession, *, url: str = "https://fed.test", timeout: float = 5
) -> Pages:
    """Pages of these members, of which the first is prime; all well."""
    body = {one.name: {"url": one.base, "prime": one is members[0]} for one in members}
    redirector = Redirector(Federation.model_validate({"url": url, "members": body}))
    for one in members:
        redirector.learn(one.name, well())
    return Pages(redirector, client, timeout=timeout)


async def test_a_page_of_the_prime(members: list[FakeMember], client: aiohttp.ClientSession) -> None:
    """The prime learns by which name visitors know it, and nothing of other proxies or cookies."""
    pages = made(members, client)
    sent = [("accept", "text/html"), ("cookie", "a=b"), ("x-forwarded-host", "evil"), ("host", "fed.test")]
    answer = await ask(pages, "/page?x=%2F", dict(sent))
    assert (answer.status, answer.body) == (200, b"page of p")
    assert answer.headers["content-length"] == "9"
    path, headers = members[0].asked[-1]
    assert path == "/page?x=%2F"
    assert headers["host"] == members[0].base.removeprefix("http://")
    assert headers["origin"] == "https://fed.test"
    assert headers["x-binder-launch-host"] == "https://fed.test/"
    assert (headers["x-forwarded-host"], headers["x-forwarded-proto"]) == ("fed.test", "https")
    assert "cookie" not in headers


async def test_head(members: list[FakeMember], client: aiohttp.ClientSession) -> None:
    """HEAD has the length and no body."""
    answer = await ask(made(members, client), "/page", method="HEAD")
    assert (answer.status, answer.body, answer.headers["content-length"]) == (200, b"", "9")


async def test_redirects_stay_here(members: list[FakeMember], client: aiohttp.ClientSession) -> None:
    """Where a prime redirects to itself, the visitor stays at the federation's name."""
    answer = await ask(made(members, client), "/to-itself")
    assert (answer.status, answer.headers["location"]) == (302, "https://fed.test/page")


async def test_the_next_one(members: list[FakeMember], client: aiohttp.ClientSession) -> None:
    """When the prime does not answer, or is a gateway without anything behind it, another member is asked."""
    pages = made(members, client)
    assert (await ask(pages, "/broken")).status == 503
    assert [member.paths() for member in members] == [["/broken"], ["/broken"]]
    members[0].state.gone = True
    assert (await ask(pages, "/page")).body == b"page of m"


async def test_from_memory(members: list[FakeMember], client: aiohttp.ClientSession) -> None:
    """When nobody answers, pages seen before are shown, but no private ones; for others there is a word."""
    pages = made(members, client)
    for path in ("/page", "/private"):
        assert (await ask(pages, path)).status == 200
    for member in members:
        member.state.gone = True
    kept = await ask(pages, "/page")
    assert (kept.status, kept.body, kept.headers["x-federation"]) == (200, b"page of p", "stale")
    for path in ("/private", "/page2"):
        sorry = await ask(pages, path)
        assert (sorry.status, sorry.headers["retry-after"]) == (503, "60")
        assert b"try again" in sorry.body


async def test_the_size_of_a_page(members: list[FakeMember], client: aiohttp.ClientSession) -> None:
    """A page without end is not taken into memory."""
    assert (await ask(made(members, client), "/huge")).status == 503


async def test_a_silent_prime(client: aiohttp.ClientSession) -> None:
    """A prime that takes the connection and says nothing is given up."""
    async with silent() as url:
        redirector = Redirector(Federation.model_validate({"members": {"s": {"url": url, "prime": True}}}))
        redirector.learn("s", unreachable("x"))
        assert (await ask(Pages(redirector, client, timeout=0.05), "/page")).status == 503


async def test_the_name_as_asked(members: list[FakeMember], client: aiohttp.ClientSession) -> None:
    """Without a name in the file the request's own is taken, and the scheme that a proxy in front tells."""
    pages = made(members, client, url="")
    await ask(pages, "/page", {"host": "x.test", "x-forwarded-proto": "https"})
    assert members[0].asked[-1][1]["origin"] == "https://x.test"
    await ask(pages, "/page", {"host": "x.test", "x-forwarded-proto": "ftp"})
    assert members[0].asked[-1][1]["origin"] == "https://x.test"


def test_cache() -> None:
    """The cache holds so many pages and bytes; a page that comes again replaces itself."""
    cache = Cache(count=2, size=10)
    for name in (b"a", b"b", b"b", b"c"):
        cache.keep(("page", name), Page(200, (), b"xxx"))
    assert [cache.find(("page", name)) is not None for name in (b"a", b"b", b"c")] == [False, True, True]
    cache.keep(("page", b"d"), Page(200, (), b"x" * 8))
    assert [cache.find(("page", name)) is not None for name in (b"b", b"c", b"d")] == [False, False, True]
    cache.drop(("page", b"d"))
    cache.drop(("page", b"d"))
    cache.keep(("page", b"e"), Page(200, (), b"x" * 10))
    assert cache.find(("page", b"e")) is not None
