"""Which images leave the bucket when it holds more than its budget (pure): as on the disk, the least valuable first.

What is on this machine stays in the bucket, too: it would only be pushed again.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Protocol

from binderlet.images.retention import Item, Kind, Limit, Part, Removal, Rules, plan
from binderlet.images.sweep import Contents, Place

START, STOP = 1.0, 0.9
"""Shares of the budget at which removing starts and ends."""
UNKNOWN_BUILD = 60.0
VOLUME = "bucket"


class Known(Protocol):
    """What is needed of ``images.transfer_record.Entry``."""

    @property
    def build_seconds(self) -> float:
        """How long its build took; 0 where nobody knows."""

    @property
    def stored_at(self) -> float:
        """When it was put there."""

    @property
    def launched_at(self) -> float:
        """When it was launched last."""

    @property
    def environment(self) -> str:
        """Name of the environment image that it is built on."""

    def popularity(self, now: float) -> float:
        """Give its launches, older ones counting less."""


def bucket_items(
    contents: Contents,
    needed: Mapping[Place, Sequence[str]],
    tagged: Mapping[str, str],
    known: Callable[[str], Known],
    keep: Callable[[str], str],
    *,
    now: float,
) -> list[Item]:
    """Give the images in the bucket; ``keep`` says why one of that name must stay, or nothing."""
    names = {f"{name}:{tag}": (name, tagged.get(thing.key, "")) for (name, tag), thing in contents.tags.items()}
    built_on: dict[str, list[str]] = {}
    for name in names:
        if environment := known(name).environment:
            built_on.setdefault(environment, []).append(name)
    items = []
    for name, place in names.items():
        family = [known(each) for each in (name, *built_on.get(name, ()))]
        digests = dict.fromkeys((place[1], *needed.get(place, ())))
        items.append(
            Item(
                name,
                Kind.ENVIRONMENT if name in built_on else Kind.IMAGE,
                name,
                tuple(Part(digest, contents.blobs[digest].size) for digest in digests if digest in contents.blobs),
                VOLUME,
                cost=max(each.build_seconds for each in family) or UNKNOWN_BUILD,
                popularity=sum(1 + each.popularity(now) for each in family),
                last_used=max(max(each.stored_at, each.launched_at) for each in family),
                keep=keep(name),
            )
        )
    return items


def over_budget(items: Collection[Item], used: int, budget: int, rules: Rules, now: float) -> list[Removal]:
    """Give what leaves the bucket, so that it holds its budget again; nothing without a budget."""
    if not budget:
        return []
    return plan(items, [Limit(frozenset({VOLUME}), used, int(START * budget), int(STOP * budget))], rules, now)


def reason_to_keep(
    name: str, ours: Iterable[str], here: Collection[str], claimed: Mapping[str, str], pinned: str
) -> str:
    """Say why an image must stay in the bucket; ``ours`` has what names of images begin with."""
    if not name.startswith(tuple(ours)):
        return "it is no image of ours"
    if name in here:
        return "it is on this machine"
    return claimed.get(name, "") or pinned
