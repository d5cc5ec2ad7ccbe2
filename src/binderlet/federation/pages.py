"""Everything but launches: fetched from a prime, from the next one where it does not answer, else from memory."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import urlsplit

import aiohttp
import structlog
from starlette.types import Receive, Scope, Send
from yarl import URL

from binderlet.federation.redirector import Redirector

log = structlog.get_logger(__name__)

HOP_BY_HOP = frozenset(
    {
        *("connection", "keep-alive", "proxy-authenticate", "proxy-authorization", "te", "trailer", "upgrade"),
        *("transfer-encoding", "content-length", "host", "origin", "expect", "forwarded", "proxy"),
        *("x-forwarded-host", "x-forwarded-for", "x-forwarded-proto", "x-forwarded-port", "x-real-ip", "cookie"),
    }
)
"""Headers of a request that are not passed on: of one connection alone, or ours to say. Primes need no cookie."""
NOT_BACK = frozenset({"connection", "keep-alive", "transfer-encoding", "upgrade", "trailer", "date", "server"})
ANSWER_TIMEOUT = 10.0
"""Seconds until a prime must begin to answer before the next is tried."""
PAGE_LIMIT = 4 * 1024 * 1024
"""Bytes of one page; pages, scripts and pictures are far smaller."""
KEPT = 200
KEPT_BYTES = 32 * 1024 * 1024
BAD_GATEWAY = 502
GOOD = 200

Header = tuple[bytes, bytes]


@dataclass(frozen=True, slots=True)
class Page:
    """One whole answer."""

    status: int
    headers: tuple[Header, ...]
    body: bytes


class Cache:
    """The last good answer to each address, up to a size; the one used longest ago goes first."""

    def __init__(self, count: int = KEPT, size: int = KEPT_BYTES) -> None:
        self._count = count
        self._size = size
        self._held = 0
        self._pages: OrderedDict[tuple[str, bytes], Page] = OrderedDict()

    def keep(self, key: tuple[str, bytes], page: Page) -> None:
        """Keep an answer for bad times."""
        self.drop(key)
        self._pages[key] = page
        self._held += len(page.body)
        while self._held > self._size or len(self._pages) > self._count:
            _, old = self._pages.popitem(last=False)
            self._held -= len(old.body)

    def drop(self, key: tuple[str, bytes]) -> None:
        """Forget an answer."""
        old = self._pages.pop(key, None)
        self._held -= len(old.body) if old else 0

    def find(self, key: tuple[str, bytes]) -> Page | None:
        """Give an answer that was kept."""
        return self._pages.get(key)


class Unanswered(Exception):
    """A prime did not answer; the text says why."""


class Pages:
    """The endpoint for everything that is not a launch."""

    def __init__(
        self, redirector: Redirector, client: aiohttp.ClientSession, *, timeout: float = ANSWER_TIMEOUT
    ) -> None:
        self._redirector = redirector
        self._client = client
        self._timeout = timeout
        self._cache = Cache()

    async def __call__(self, scope: Scope, _receive: Receive, send: Send) -> None:
        """Answer one GET or HEAD."""
        method = scope["method"]
        target: bytes = scope["raw_path"] + (b"?" + scope["query_string"] if scope["query_string"] else b"")
        page = await self._find(method, target, scope)
        headers = [*page.headers, (b"content-length", str(len(page.body)).encode())]
        await send({"type": "http.response.start", "status": page.status, "headers": headers})
        await send({"type": "http.response.body", "body": b"" if method == "HEAD" else page.body})

    async def _find(self, method: str, target: bytes, scope: Scope) -> Page:
        key = (_wanted(scope), target)
        trouble = []
        for name in self._redirector.primes():
            try:
                page = await self._fetch(self._redirector.federation.members[name].url, target, scope)
            except Unanswered as error:
                trouble.append(f"{name}: {error}")
                continue
            if page.status >= BAD_GATEWAY:
                trouble.append(f"{name}: answered {page.status}")
                continue
            if method == "GET" and page.status == GOOD and not _is_private(page):
                self._cache.keep(key, page)
            return page
        log.warning("no prime answers", target=target.decode("latin-1"), trouble=trouble)
        kept = self._cache.find(key)
        if kept is None:
            return sorry()
        return Page(kept.status, (*kept.headers, (b"x-federation", b"stale")), kept.body)

    async def _fetch(self, base: str, target: bytes, scope: Scope) -> Page:
        headers = self._headers(scope, urlsplit(base).netloc)
        url = URL(base + target.decode("latin-1"), encoded=True)
        try:
            async with (
                asyncio.timeout(self._timeout),
                self._client.get(url, headers=headers, allow_redirects=False) as response,
            ):
                body = await _limited(response)
                kept = _returned(response.raw_headers, base, self.public(scope))
                return Page(response.status, kept, body)
        except TimeoutError as error:
            raise Unanswered(f"no answer within {self._timeout:g} s") from error
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise Unanswered(str(error) or type(error).__name__) from error

    def public(self, scope: Scope) -> str:
        """Give the federation's address as visitors see it, without slash."""
        if self._redirector.federation.url:
            return self._redirector.federation.url
        given = dict(scope["headers"])
        scheme = given.get(b"x-forwarded-proto", scope["scheme"].encode()).decode("latin-1")
        host = given.get(b"host", b"localhost").decode("latin-1")
        return f"{scheme if scheme in {'http', 'https'} else 'https'}://{host}"

    def _headers(self, scope: Scope, host: str) -> list[tuple[str, str]]:
        """Give the request's headers for a prime: it learns by which name visitors know it."""
        kept = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in scope["headers"]]
        public = self.public(scope)
        split = urlsplit(public)
        return [
            *((name, value) for name, value in kept if name not in HOP_BY_HOP),
            ("Host", host),
            ("Origin", public),
            ("X-Binder-Launch-Host", public + "/"),
            ("X-Forwarded-Host", split.netloc),
            ("X-Forwarded-Proto", split.scheme),
        ]


def _wanted(scope: Scope) -> str:
    """Pages for people and answers for programs may share an address, and answers may be compressed."""
    given = dict(scope["headers"])
    accept = "page" if b"text/html" in given.get(b"accept", b"") else "data"
    return f"{accept} {given.get(b'accept-encoding', b'').decode('latin-1')}"


def _is_private(page: Page) -> bool:
    """Whether an answer must not be kept: it has a token, or is for one visitor."""
    named = dict(page.headers)
    return b"no-store" in named.get(b"cache-control", b"") or b"set-cookie" in named


def _returned(headers: Iterable[Header], base: str, public: str) -> tuple[Header, ...]:
    """Give the answer's headers; redirects to the prime itself become redirects to the federation."""
    kept = []
    old, new = base.encode(), public.encode()
    for name, value in headers:
        lower = name.lower()
        if lower.decode("latin-1") in NOT_BACK or lower == b"content-length":
            continue
        moved = lower == b"location" and (value == old or value.startswith(old + b"/"))
        kept.append((lower, new + value[len(old) :] if moved else value))
    return tuple(kept)


async def _limited(response: aiohttp.ClientResponse) -> bytes:
    parts: list[bytes] = []
    size = 0
    async for part in response.content.iter_any():
        parts.append(part)
        size += len(part)
        if size > PAGE_LIMIT:
            raise ValueError("the page is too large")
    return b"".join(parts)


SORRY_HEADING = "No page can be shown now"
SORRY = (
    "None of the servers that show pages answers. Links to repositories that you have open still launch. "
    "Please try again in a minute."
)


def sorry() -> Page:
    """Give the page for when nothing else is left."""
    heading, words = SORRY_HEADING, SORRY
    body = (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f"<title>{heading}</title><h1>{heading}</h1><p>{words}</p></html>\n"
    )
    headers = ((b"content-type", b"text/html; charset=utf-8"), (b"retry-after", b"60"), (b"cache-control", b"no-store"))
    return Page(503, headers, body.encode())
