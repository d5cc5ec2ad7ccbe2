"""Which commit does a ref mean now, asked with git alone."""

from __future__ import annotations

import asyncio

from binderlet.clients.git import Git
from binderlet.clients.git_errors import public_url
from binderlet.errors import ProviderUnavailable, RefNotFound
from binderlet.providers.mirrors import Mirrors
from binderlet.providers.refs import candidates, find, is_full_sha, is_short_sha


class Resolver:
    """Finds commits by ``git ls-remote``; short ids by a mirror of the commits alone.

    ``seconds`` is how long one look-up may take.
    """

    def __init__(self, git: Git, mirrors: Mirrors, *, seconds: float) -> None:
        self._git = git
        self._mirrors = mirrors
        self._seconds = seconds

    async def resolve(self, url: str, ref: str) -> str:
        """Find the commit's whole id; a whole id is given back without I/O.

        Raises:
            RepositoryNotFound: there is no such repository, or not for us.
            RefNotFound: it has no such branch, tag or commit, or several commits start so.
            ProviderUnavailable: the host did not answer in time.
        """
        if is_full_sha(ref):
            return ref.lower()
        try:
            async with asyncio.timeout(self._seconds):
                return await self._ask(url, ref)
        except TimeoutError:
            message = f"{public_url(url)} did not say within {self._seconds:g} s which commit {ref!r} is."
            raise ProviderUnavailable(message) from None

    async def _ask(self, url: str, ref: str) -> str:
        # a host lists its pull requests among the refs, of which there may be a hundred thousand: ask without first
        narrow = ref != "HEAD" and not ref.startswith("refs/")
        sha = await self._listed(url, ref, narrow=narrow)
        if sha is None and narrow and "/" in ref:
            sha = await self._listed(url, ref, narrow=False)
        if sha is None and is_short_sha(ref):
            sha = await self._mirrors.expand(url, ref.lower())
        if sha is None and ref == "HEAD":
            raise RefNotFound(f"{public_url(url)} has no commits yet.", hint="Push a first commit.")
        if sha is None:
            raise RefNotFound(f"{public_url(url)} has no branch, tag or commit named {ref!r}.")
        return sha

    async def _listed(self, url: str, ref: str, *, narrow: bool) -> str | None:
        refs = await self._git.list_refs(url, candidates(ref), heads_and_tags=narrow)
        return find(ref, refs)
