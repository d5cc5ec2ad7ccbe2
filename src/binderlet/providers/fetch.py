"""Puts the files of one commit into a folder: out of a mirror, with submodules and LFS files, within a size."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Collection
from pathlib import Path
from typing import Final
from urllib.parse import quote

from binderlet.clients.git import Git
from binderlet.clients.git_errors import public_url
from binderlet.errors import BadRepository, ProviderUnavailable, RefNotFound, RepositoryNotFound
from binderlet.model import Commit
from binderlet.providers.base import Log
from binderlet.providers.lfs import LfsFiles
from binderlet.providers.mirrors import Mirrors, remove
from binderlet.providers.size import TreeSize, folder_size, too_large, within

_SUBMODULE_URL: Final = re.compile(r"clone of '([^']+)' into submodule path")


class Fetcher:
    """Makes checkouts.

    ``seconds`` is how long one may take; ``limit`` is how many bytes it may have, ``.git`` included.
    """

    def __init__(self, git: Git, mirrors: Mirrors, *, seconds: float, limit: int, protocols: Collection[str]) -> None:
        self._git = git
        self._mirrors = mirrors
        self._seconds = seconds
        self._limit = limit
        self._lfs = LfsFiles(git, protocols=protocols)

    async def fetch(self, commit: Commit, destination: Path, log: Log) -> None:
        """As ``Provider.fetch``. The folder appears complete or not at all, even when this process is killed."""
        part = destination.with_name(f".{destination.name}.part")
        try:
            async with asyncio.timeout(self._seconds):
                await self._make(commit, part, log)
            await asyncio.to_thread(part.rename, destination)
        except TimeoutError:
            await remove(destination)
            shown = public_url(commit.clone_url)
            raise ProviderUnavailable(f"Fetching {shown} took longer than {self._seconds:g} s.") from None
        except BaseException:
            await remove(destination)
            raise
        finally:
            await remove(part)

    async def _make(self, commit: Commit, part: Path, log: Log) -> None:
        url, shown = commit.clone_url, public_url(commit.clone_url)
        log(f"Fetching {shown} at {commit.sha}")

        async def take_out(mirror: Path) -> TreeSize:
            return await self._take_out(mirror, commit, part)

        size = await self._mirrors.use(url, commit.sha, log, take_out)
        if size.is_too_large:
            raise too_large(shown, self._limit)
        await self._git.run("-C", str(part), "checkout", "--quiet", "--detach", commit.sha, about=url, log=log)
        if await asyncio.to_thread((part / ".gitmodules").is_file):
            await within(self._submodules(commit, part, log), part, self._limit, shown)
        await self._lfs_files(commit, part, log)
        if await asyncio.to_thread(folder_size, part, self._limit) > self._limit:
            raise too_large(shown, self._limit)
        log(f"Checked out {size.files:,} files")

    async def _take_out(self, mirror: Path, commit: Commit, part: Path) -> TreeSize:
        """Copy one commit out of the mirror, after a look at how large its files will be."""
        url = commit.clone_url
        size = TreeSize(self._limit)
        await self._git.run(
            *(f"--git-dir={mirror}", "ls-tree", "-r", "--format=%(objectsize)", commit.sha),
            about=url,
            enough=size.take,
        )
        if not size.is_too_large:
            await remove(part)
            await self._git.run("init", "--quiet", str(part), about=url)
            await self._git.run("-C", str(part), "config", "remote.origin.url", url, about=url)
            source = f"file://{quote(str(mirror))}"
            one = ("fetch", "--quiet", "--no-tags", "--no-write-fetch-head", "--depth=1", "--", source, commit.sha)
            await self._git.run("-C", str(part), *one, about=url, local=True)
        return size

    async def _submodules(self, commit: Commit, part: Path, log: Log) -> None:
        failed_urls: list[str] = []

        def note(line: str) -> None:
            failed_urls.extend(_SUBMODULE_URL.findall(line))
            log(line.replace(f"{part}/", ""))

        git = ("-C", str(part), "submodule")
        update = (*git, "update", "--init", "--recursive", "--progress")
        try:
            try:
                await self._git.run(*update, "--depth=1", about=commit.clone_url, log=note)
            except (RefNotFound, BadRepository):  # its commit is not a tip and the server gives no other
                await self._git.run(*git, "--quiet", "deinit", "--all", "--force", about=commit.clone_url)
                await remove(part / ".git" / "modules")
                await self._git.run(*update, about=commit.clone_url, log=note)
        except (RefNotFound, RepositoryNotFound, BadRepository) as error:
            where = f" from {public_url(failed_urls[-1])}" if failed_urls else ""
            raise BadRepository(
                f"A submodule of {public_url(commit.clone_url)} cannot be fetched{where}: {error.message}",
                hint=error.hint if isinstance(error, BadRepository) else "Is the submodule's repository public?",
            ) from error

    async def _lfs_files(self, commit: Commit, part: Path, log: Log) -> None:
        trees = [part]
        if await asyncio.to_thread((part / ".git" / "modules").is_dir):
            each = ("submodule", "--quiet", "foreach", "--recursive", 'printf "%s\\0" "$PWD"')
            output = await self._git.run("-C", str(part), *each, about=commit.clone_url)
            trees += [Path(name.decode(errors="surrogateescape")) for name in output.split(b"\0") if name]
        storage = self._mirrors.path(commit.clone_url, "lfs")
        for tree in trees:
            await self._lfs.pull(tree, storage, self._limit, about=commit.clone_url, log=log)
