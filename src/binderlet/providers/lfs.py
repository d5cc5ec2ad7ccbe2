"""Git LFS: replaces pointer files by what they point at, where git-lfs is installed."""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import Collection
from pathlib import Path
from typing import Final

from binderlet.clients.git import Git
from binderlet.clients.git_errors import public_url
from binderlet.errors import BadRepository, RefNotFound, RepositoryNotFound
from binderlet.providers.base import Log
from binderlet.providers.size import too_large, within

_POINTER_SIZE: Final = re.compile(rb"^version https://git-lfs.*^size (\d+)$", re.DOTALL | re.MULTILINE)
_LARGEST_POINTER: Final = 1024
_FILTER: Final = (
    *("-c", "filter.lfs.clean=git-lfs clean -- %f"),
    *("-c", "filter.lfs.smudge=git-lfs smudge -- %f"),
    *("-c", "filter.lfs.process=git-lfs filter-process"),
)


def size_in_pointer(path: Path) -> int:
    """Read the size of the file that a pointer file stands for; 0 when it is no pointer."""
    try:
        with os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK), "rb") as file:
            found = _POINTER_SIZE.search(file.read(_LARGEST_POINTER))
    except OSError:  # a symbolic link, or a folder: git-lfs leaves those alone too
        return 0
    return int(found[1]) if found else 0


class LfsFiles:
    """Gets LFS files. ``protocols`` are the URL schemes that ``.lfsconfig`` may name."""

    def __init__(self, git: Git, *, protocols: Collection[str]) -> None:
        self._git = git
        self._protocols = protocols

    async def pull(self, tree: Path, storage: Path, limit: int, *, about: str, log: Log) -> None:
        """Fetch the LFS files of a checkout into ``storage`` and put them in place.

        Without git-lfs the pointers stay and the log says so.

        Raises:
            BadRepository: they are larger than ``limit`` bytes together, missing, or somewhere that is not allowed.
            ProviderUnavailable: their server does not answer.
        """
        kept = await self._git.run("-C", str(tree), "ls-files", "-z", ":(attr:filter=lfs)", about=about)
        names = [os.fsdecode(name) for name in kept.split(b"\0") if name]
        if not names:
            return
        if not await self._git.has_lfs():
            log(f"{len(names)} files are in Git LFS, but git-lfs is not installed here: they stay pointers.")
            return
        if await asyncio.to_thread(lambda: sum(size_in_pointer(tree / name) for name in names)) > limit:
            raise too_large(public_url(about), limit)
        await self._check_urls(tree, about)
        log(f"Fetching {len(names)} files from Git LFS")
        command = ("-C", str(tree), "-c", f"lfs.storage={storage}", *_FILTER, "lfs", "pull")
        try:
            await within(self._git.run(*command, about=about, log=log), storage, limit, public_url(about))
        except (RepositoryNotFound, RefNotFound) as error:
            raise BadRepository(f"Files in Git LFS cannot be fetched: {error.message}") from error

    async def _check_urls(self, tree: Path, about: str) -> None:
        """git-lfs follows URLs of the repository's own .lfsconfig and does not heed GIT_ALLOW_PROTOCOL."""
        config = tree / ".lfsconfig"
        if not await asyncio.to_thread(config.is_file):
            return
        listing = ("config", "--no-includes", "--file", str(config), "--null", "--list")
        for entry in (await self._git.run(*listing, about=about)).decode(errors="replace").split("\0"):
            key, _, value = entry.partition("\n")
            if key.endswith("url") and value.partition("://")[0] not in self._protocols:
                raise BadRepository(f".lfsconfig leads to {public_url(value)}, which is not allowed here.")
