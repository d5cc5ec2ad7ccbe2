"""Brings the most valuable images back to a machine that lost them."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Collection, Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from binderlet.errors import BinderletError
from binderlet.images.base import ImageStore
from binderlet.images.registry.base import Registry
from binderlet.images.transfer_record import Entry, Record
from binderlet.tasks import Tasks


@dataclass(frozen=True, slots=True)
class Restored:
    """One image that was brought back, or not."""

    name: str
    size: int
    """Bytes in the registry."""
    problem: str = ""
    """Why it was not; empty where it was."""


def choose(
    entries: Iterable[Entry], here: Collection[str], *, prefix: str, now: float, count: int, room: int
) -> list[Entry]:
    """Give the images to bring back, most valuable first, each after its environment (pure).

    Only sessions' images count, and what fits into ``room`` bytes, counted as if they shared nothing but environments.
    """
    by_name = {entry.name: entry for entry in entries if entry.image_id}
    sessions = [entry for name, entry in by_name.items() if name.startswith(prefix) and name not in here]
    chosen: dict[str, Entry] = {}
    taken = images = 0
    for entry in sorted(sessions, key=lambda entry: (-entry.value(now), entry.name)):
        if images == count:
            break
        parent = by_name.get(entry.environment)
        more = [parent] if parent is not None and parent.name not in chosen and parent.name not in here else []
        # An image holds its environment's layers: whoever brings both moves them once.
        size = entry.size if more or parent is None else max(0, entry.size - parent.size)
        if taken + size > room:
            continue
        taken += size
        images += 1
        chosen |= {each.name: each for each in (*more, entry)}
    return list(chosen.values())


async def restore(
    registry: Registry, record: Record, images: ImageStore, entries: Iterable[Entry], tell: Callable[[str], None]
) -> AsyncGenerator[Restored]:
    """Pull these, one after the other; one that fails does not keep the others from coming."""
    for entry in entries:
        tell(entry.name)
        try:
            remote = await registry.find(entry.name)
            if remote is None:
                record.forget(entry.name)
                yield Restored(entry.name, entry.size, "the registry does not have it any more")
                continue
            await registry.pull(remote, entry.name, lambda _: None)
        except BinderletError as error:
            yield Restored(entry.name, entry.size, error.message)
        else:
            yield Restored(entry.name, remote.size)
    await images.refresh()


class Restoration:
    """Brings images back in the background, one restoration at a time; ``learn`` reads other machines' records."""

    def __init__(
        self,
        registry: Registry,
        record: Record,
        images: ImageStore,
        tasks: Tasks,
        *,
        prefix: str,
        learn: Callable[[], Awaitable[None]],
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._registry = registry
        self._record = record
        self._images = images
        self._tasks = tasks
        self._prefix = prefix
        self._learn = learn
        self._clock = clock
        self._running = False
        self._current = ""
        self._total = 0
        self._done: list[Restored] = []

    async def begin(self, count: int, room: int) -> None:
        """Begin to bring back so many images of so many bytes at most; one that goes on is left alone.

        Raises:
            ImagesUnavailable: the registry does not answer.
        """
        if self._running:
            return
        self._running = True
        try:
            await self._learn()
            here = {image.name for image in await self._images.all()}
            now = self._clock()
            chosen = choose(self._record.entries(), here, prefix=self._prefix, now=now, count=count, room=room)
        except BaseException:
            self._running = False
            raise
        self._total, self._done = len(chosen), []
        self._tasks.start(self._run(chosen), name="restore")

    def progress(self) -> Mapping[str, Any]:
        """Give how far it is, as JSON."""
        return {
            "running": self._running,
            "current": self._current,
            "total": self._total,
            "done": [asdict(each) for each in self._done],
        }

    def _tell(self, name: str) -> None:
        self._current = name

    async def _run(self, chosen: Iterable[Entry]) -> None:
        try:
            async for each in restore(self._registry, self._record, self._images, chosen, self._tell):
                self._done.append(each)
        finally:
            self._running, self._current = False, ""
