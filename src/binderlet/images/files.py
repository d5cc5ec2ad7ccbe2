"""What the state folder keeps beside images, as items: build logs, checkouts, copies of repositories; and the rest.

All functions here block on the disk: they are for threads.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable, Collection, Iterator
from pathlib import Path

from binderlet.images.retention import Item, Kind, Part

BYTES_PER_SECOND = 10 * 1024**2
"""How fast a repository is taken to be fetched again."""
LOG_COST = 0.01
"""Seconds that somebody who looks for an old log is taken to lose."""
TRASH = ".going"
"""What a folder's name ends in while it is being removed."""
DAY = 86400.0


def size_of(path: Path) -> int:
    """Give the bytes that a file or folder takes on the disk; what goes away meanwhile counts nothing."""
    try:
        own = path.lstat().st_blocks * 512
    except OSError:
        return 0
    try:
        entries = list(os.scandir(path)) if path.is_dir() and not path.is_symlink() else []
    except OSError:
        return own
    return own + sum(size_of(Path(entry.path)) for entry in entries)


def mirror_key(url: str) -> str:
    """Give the first part of the names of a repository's copies."""
    return hashlib.sha256(url.encode()).hexdigest()[:32]


class StateFiles:
    """The files below ``state``. ``building`` has the ids of builds that wait or run."""

    def __init__(self, state: Path, *, clock: Callable[[], float]) -> None:
        self.state = state
        self._clock = clock

    def look(self, building: Collection[str], fetching: Collection[str]) -> list[Item]:
        """Give all of it; ``fetching`` has the addresses of repositories that builds read now."""
        items = [*self._logs(building), *self._checkouts(building), *self._mirrors(fetching)]
        known = {"builds", "checkouts", "mirrors"}
        rest = sum(size_of(path) for path in self._entries("") if path.name not in known)
        part = Part("state", rest)
        return [
            *items,
            Item("state", Kind.STATE, "settings, history and caches", (part,), "state", keep="it is needed"),
        ]

    def remove(self, item: Item) -> bool:
        """Remove one item. Idempotent; a folder is first renamed, so that nobody finds half of it."""
        path = self.state / item.id.partition(":")[2]
        going = path.with_name(path.name + TRASH)
        if path.exists():
            if path.is_dir():
                path.rename(going)
                shutil.rmtree(going)
            else:
                path.unlink()
        elif going.exists():
            shutil.rmtree(going)
        return True

    def _entries(self, folder: str) -> Iterator[Path]:
        try:
            found = sorted(os.scandir(self.state / folder), key=lambda entry: entry.name)
        except FileNotFoundError:
            return
        for entry in found:
            yield Path(entry.path)

    def _item(self, kind: Kind, path: Path, name: str, *, cost: float, keep: str, junk: bool = False) -> Item:
        try:
            used = path.stat().st_mtime
        except OSError:
            used = self._clock()
        item_id = f"{kind}:{path.relative_to(self.state)}"
        popularity = 0.5 ** (max(0.0, self._clock() - used) / (14 * DAY))
        part = Part(item_id, size_of(path))
        return Item(
            item_id, kind, name, (part,), "state",
            cost=cost, popularity=popularity, last_used=used, keep=keep, is_junk=junk,
        )  # fmt: skip

    def _logs(self, building: Collection[str]) -> Iterator[Item]:
        for path in self._entries("builds"):
            keep = "its build goes on" if path.name in building or not (path / "result.json").exists() else ""
            keep = "" if path.name.endswith(TRASH) else keep
            yield self._item(Kind.LOG, path, f"log of build {path.name}", cost=LOG_COST, keep=keep)

    def _checkouts(self, building: Collection[str]) -> Iterator[Item]:
        """Give what builds left: a checkout goes with its build, unless the process was killed."""
        for path in self._entries("checkouts"):
            build = path.name.partition(".")[0]
            unfinished = build in building or self._is_unfinished(build)
            keep = "its build goes on" if unfinished and not path.name.endswith(TRASH) else ""
            yield self._item(Kind.CHECKOUT, path, f"checkout of build {build}", cost=0.0, keep=keep, junk=True)

    def _is_unfinished(self, build: str) -> bool:
        folder = self.state / "builds" / build
        return (folder / "request.json").exists() and not (folder / "result.json").exists()

    def _mirrors(self, fetching: Collection[str]) -> Iterator[Item]:
        used_now = {mirror_key(url) for url in fetching}
        for path in self._entries("mirrors"):
            keep = "a build reads it" if path.name.partition(".")[0] in used_now else ""
            item = self._item(Kind.MIRROR, path, f"copy of a repository {path.name}", cost=0.0, keep=keep)
            yield Item(
                item.id, item.kind, item.name, item.parts, item.volume,
                cost=1.0 + item.size / BYTES_PER_SECOND, popularity=item.popularity,
                last_used=item.last_used, keep=keep, is_junk=path.name.endswith(TRASH),
            )  # fmt: skip
