"""Brings the most valuable images back to a machine that lost them."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Collection, Iterable
from dataclasses import dataclass

from binderlet.errors import BinderletError
from binderlet.images.base import ImageStore
from binderlet.images.registry.base import Registry
from binderlet.images.transfer_record import Entry, Record


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
        tell(f"{entry.name} ({entry.size / 1e6:.0f} MB)")
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
