"""A small client of GitHub's REST API: the commits endpoint, which GitHub Enterprise, Gitea and others have too."""

from __future__ import annotations

import asyncio
import json
import math
import ssl
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Final
from urllib.parse import quote, urlsplit

import aiohttp

from binderlet.errors import ProviderUnavailable, RefNotFound, RepositoryNotFound

_REMEMBERED: Final = 1024
"""Answers kept with their ETag: asking again for one that has not changed costs no quota."""
_DEFAULT_WAIT: Final = 60.0
"""Seconds to leave the API alone when it says "too many" but not until when."""


def _proxy_for(url: str, environment: Mapping[str, str]) -> str | None:
    parts = urlsplit(url)
    host = f".{parts.hostname or ''}"
    excepted = (environment.get("no_proxy") or environment.get("NO_PROXY", "")).replace(" ", "").split(",")
    if any(name == "*" or (name and host.endswith(f".{name.lstrip('.')}")) for name in excepted):
        return None
    name = f"{parts.scheme}_proxy"
    return environment.get(name) or environment.get(name.upper()) or None


class Forge:
    """One forge's REST API below ``base``, such as ``https://api.github.com``.

    ``seconds`` is how long one request may take; of ``environment`` proxies and ``SSL_CERT_FILE`` are used.
    """

    def __init__(
        self,
        base: str,
        *,
        token: str = "",
        seconds: float = 30.0,
        environment: Mapping[str, str],
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._base = base.rstrip("/")
        self._token = token
        self._seconds = seconds
        self._proxy = _proxy_for(self._base, environment)
        self._certificates = environment.get("SSL_CERT_FILE") or None
        self._clock = clock
        self._session: aiohttp.ClientSession | None = None
        self._opening = asyncio.Lock()
        self._answers: OrderedDict[str, tuple[str, str]] = OrderedDict()
        self._quota_back_at = 0.0
        self.quota_left: int | None = None
        """Requests left in this hour as the API last said; None before it did."""

    def __repr__(self) -> str:
        return f"Forge({self._base!r})"

    async def commit(self, user: str, repo: str, ref: str) -> str:
        """Find the whole id of the commit that a branch, tag, ``HEAD``, or whole or short id means.

        Raises:
            RepositoryNotFound: there is no such repository, or the token may not see it.
            RefNotFound: it has no such branch, tag or commit.
            ProviderUnavailable: the API does not answer, refuses the token, or its quota is used up.
        """
        if self._clock() < self._quota_back_at:
            raise self._quota_used_up()
        path = f"/repos/{quote(user, safe='')}/{quote(repo, safe='')}/commits/{quote(ref, safe='/')}"
        known = self._answers.get(path)
        try:
            session = await self._open()
            async with session.get(
                self._base + path,
                params={"per_page": "1"},  # of the files that the commit changed, which we do not need
                headers={"If-None-Match": known[0]} if known else {},
                proxy=self._proxy,
            ) as response:
                if response.status == HTTPStatus.NOT_MODIFIED and known:
                    self._note_quota(response)
                    self._answers.move_to_end(path)
                    return known[1]
                return await self._read(path, f"{user}/{repo}", ref, response)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            reason = str(error) or f"no answer within {self._seconds:g} s"
            raise ProviderUnavailable(f"{self._base} does not answer: {reason}.") from error

    async def _open(self) -> aiohttp.ClientSession:
        async with self._opening:
            if self._session is None:
                self._session = await self._new_session()
            return self._session

    async def _new_session(self) -> aiohttp.ClientSession:
        context = await asyncio.to_thread(ssl.create_default_context, cafile=self._certificates)
        headers = {
            "Accept": "application/vnd.github+json",
            "User-Agent": "binderlet",
            **({"Authorization": f"token {self._token}"} if self._token else {}),
        }
        return aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(ssl=context),
            headers=headers,
            timeout=aiohttp.ClientTimeout(total=self._seconds),
        )

    async def _read(self, path: str, name: str, ref: str, response: aiohttp.ClientResponse) -> str:
        self._note_quota(response)
        match response.status:
            case HTTPStatus.OK:
                sha = _sha_in(await response.read(), self._base)
                if etag := response.headers.get("ETag"):
                    self._remember(path, etag, sha)
                return sha
            case HTTPStatus.NOT_FOUND:
                raise RepositoryNotFound(f"There is no public repository {name} at {self._base}.")
            case HTTPStatus.UNPROCESSABLE_ENTITY:
                raise RefNotFound(f"{name} has no branch, tag or commit named {ref!r}.")
            case HTTPStatus.CONFLICT:
                raise RefNotFound(f"{name} has no commits yet.", hint="Push a first commit.")
            case HTTPStatus.UNAUTHORIZED:
                raise ProviderUnavailable(
                    f"{self._base} refuses the token.", hint="Operators: check providers.gh.token."
                )
            case HTTPStatus.FORBIDDEN | HTTPStatus.TOO_MANY_REQUESTS if self._is_about_quota(response):
                raise self._quota_used_up()
            case status:
                raise ProviderUnavailable(f"{self._base} answered {name} with status {status}.")

    def _remember(self, path: str, etag: str, sha: str) -> None:
        self._answers[path] = (etag, sha)
        self._answers.move_to_end(path)
        while len(self._answers) > _REMEMBERED:
            self._answers.popitem(last=False)

    def _note_quota(self, response: aiohttp.ClientResponse) -> None:
        left = response.headers.get("X-RateLimit-Remaining", "")
        if left.isdigit():
            self.quota_left = int(left)

    def _is_about_quota(self, response: aiohttp.ClientResponse) -> bool:
        """Whether the refusal is for asking too often; notes until when to ask no more."""
        after = response.headers.get("Retry-After", "")
        reset = response.headers.get("X-RateLimit-Reset", "")
        if after.isdigit():
            self._quota_back_at = self._clock() + int(after)
        elif response.headers.get("X-RateLimit-Remaining") == "0" and reset.isdigit():
            self._quota_back_at = float(reset)
        elif response.status == HTTPStatus.TOO_MANY_REQUESTS:
            self._quota_back_at = self._clock() + _DEFAULT_WAIT
        else:
            return False
        return True

    def _quota_used_up(self) -> ProviderUnavailable:
        minutes = max(5, 5 * math.ceil((self._quota_back_at - self._clock()) / 300))
        return ProviderUnavailable(
            f"GitHub rate limit exceeded. Try again in {minutes} minutes.",
            hint='Operators: a providers.gh.token has a larger quota; providers.gh.resolve = "git" needs none.',
        )

    async def close(self) -> None:
        """Give back connections. Idempotent."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()


def _sha_in(body: bytes, base: str) -> str:
    try:
        sha = json.loads(body)["sha"]
    except (ValueError, KeyError, TypeError):
        sha = None
    if not isinstance(sha, str) or len(sha) != 40 or not sha.isalnum():  # noqa: PLR2004 - digits of a commit id
        raise ProviderUnavailable(f"{base} gave an answer that names no commit.", hint="Is providers.gh.api_url right?")
    return sha.lower()
