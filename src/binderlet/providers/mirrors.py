"""Bare copies of repositories, one folder per URL, so that what was fetched once is not fetched again."""

from __future__ import annotations

import asyncio
import hashlib
import os
import shutil
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final, TypeVar
from weakref import WeakValueDictionary

import structlog

from binderlet.clients.git import Git
from binderlet.clients.git_errors import public_url
from binderlet.errors import BadRepository, RefNotFound
from binderlet.providers.base import Log
from binderlet.providers.size import within

logger = structlog.get_logger(__name__)

T = TypeVar("T")

_FETCH: Final = ("fetch", "--quiet", "--no-tags", "--no-write-fetch-head", "--no-recurse-submodules", "--progress")


async def remove(folder: Path) -> None:
    """Remove a folder and all below it, if it is there."""
    await asyncio.to_thread(_remove, folder)


def _remove(folder: Path) -> None:
    if folder.exists():
        shutil.rmtree(folder)


class Mirrors:
    """The mirrors below one folder, which nothing else may write to.

    Per URL there are ``<key>.git`` (whole commits, mostly without their history), ``<key>.history.git`` (commits
    without files, for finding short ids; made when first asked for) and ``<key>.lfs`` (LFS files).
    """

    def __init__(self, git: Git, folder: Path, *, limit: int) -> None:
        self._git = git
        self._folder = folder.absolute()
        self._limit = limit
        self._locks: WeakValueDictionary[Path, asyncio.Lock] = WeakValueDictionary()

    def path(self, url: str, kind: str = "git") -> Path:
        """Name the folder of that kind for a URL: named by content, so that no URL can lead elsewhere."""
        return self._folder / f"{hashlib.sha256(url.encode()).hexdigest()[:32]}.{kind}"

    def _lock(self, mirror: Path) -> asyncio.Lock:
        return self._locks.setdefault(mirror, asyncio.Lock())

    async def use(self, url: str, sha: str, log: Log, work: Callable[[Path], Awaitable[T]]) -> T:
        """Do ``work`` with a mirror that holds the commit and all its files, while nobody else uses it.

        A mirror that turns out to be broken is thrown away and fetched anew, once.

        Raises:
            RefNotFound, RepositoryNotFound, ProviderUnavailable: as ``Git.run``.
            BadRepository: it is larger than the limit, or cannot be read even anew.
        """
        mirror = self.path(url)

        async def obtain_and_work() -> T:
            await self._obtain(mirror, url, sha, log)
            await asyncio.to_thread(os.utime, mirror)  # when it was used last, for whoever makes room
            return await work(mirror)

        async with self._lock(mirror):
            return await within(self._twice(mirror, url, obtain_and_work), mirror, self._limit, public_url(url))

    async def expand(self, url: str, short: str) -> str:
        """Find the whole id of the commit that starts with ``short``.

        Raises:
            RefNotFound: none does, or several do.
            RepositoryNotFound, ProviderUnavailable, BadRepository: as ``use``.
        """
        mirror = self.path(url, "history.git")

        async def find() -> str:
            return await self._expand(mirror, url, short)

        async with self._lock(mirror):
            return await within(self._twice(mirror, url, find), mirror, self._limit, public_url(url))

    async def _twice(self, mirror: Path, url: str, work: Callable[[], Awaitable[T]]) -> T:
        try:
            return await work()
        except BadRepository as error:
            logger.warning("mirror thrown away", url=public_url(url), mirror=mirror.name, reason=error.message)
            await remove(mirror)
            return await work()

    async def _obtain(self, mirror: Path, url: str, sha: str, log: Log) -> None:
        await self._create(mirror, url)
        if await self._has(mirror, url, sha):
            return
        git_dir = f"--git-dir={mirror}"
        try:
            one = f"+{sha}:refs/binderlet/{sha}"
            await self._git.run(git_dir, *_FETCH, "--depth=1", "--", url, one, about=url, log=log)
        except (RefNotFound, BadRepository):  # an old server that gives tips only, or one without shallow fetches
            log("This server does not give single commits: fetching the whole history.")
            await self._obtain_all(mirror, url, log)
        if not await self._has(mirror, url, sha):
            raise RefNotFound(f"{public_url(url)} has no commit {sha}.")

    async def _obtain_all(self, mirror: Path, url: str, log: Log) -> None:
        if await asyncio.to_thread((mirror / "shallow").exists):  # it would not be deepened
            await remove(mirror)
            await self._create(mirror, url)
        everything = ("+refs/heads/*:refs/heads/*", "+refs/tags/*:refs/tags/*")
        await self._git.run(f"--git-dir={mirror}", *_FETCH, "--", url, *everything, about=url, log=log)

    async def _create(self, mirror: Path, url: str) -> None:
        await asyncio.to_thread(self._folder.mkdir, parents=True, exist_ok=True)
        await self._git.run("init", "--quiet", "--bare", str(mirror), about=url)

    async def _has(self, mirror: Path, url: str, sha: str) -> bool:
        try:
            await self._git.run(f"--git-dir={mirror}", "cat-file", "-e", f"{sha}^{{commit}}", about=url)
        except (RefNotFound, BadRepository):
            return False
        return True

    async def _expand(self, mirror: Path, url: str, short: str) -> str:
        await self._create(mirror, url)
        try:
            return await self._parse(mirror, url, short)
        except RefNotFound:
            # kept under a name that no short id can be mistaken for
            commits = ("+refs/heads/*:refs/binderlet/heads/*", "+refs/tags/*:refs/binderlet/tags/*")
            await self._git.run(f"--git-dir={mirror}", "config", "remote.origin.url", url, about=url)
            await self._git.run(
                f"--git-dir={mirror}", *_FETCH, "--prune", "--filter=tree:0", "origin", *commits, about=url
            )
        try:
            return await self._parse(mirror, url, short)
        except RefNotFound as error:
            if "More than one" in error.message:
                raise
            raise RefNotFound(f"{public_url(url)} has no branch, tag or commit named {short!r}.") from None

    async def _parse(self, mirror: Path, url: str, short: str) -> str:
        commit = f"{short}^{{commit}}"
        output = await self._git.run(f"--git-dir={mirror}", "rev-parse", "--verify", commit, about=url)
        return output.decode().strip()
