"""Who gets a launch: pure, and the same on every redirector that sees the same members.

Rendezvous hashing: every member draws a number for the repository, by a hash of both, and the best one wins. The
draw is ``weight / -ln(u)`` with ``u`` even in (0, 1): the probability to win is then exactly the member's part of
all weights, and a change of one weight moves only launches to or from that member. Hash and key are those of
mybinder.org's redirector, so that a federation that changes to this one keeps its warm images.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from hashlib import blake2b

PREFIX = b"/build/"
GITHUB = b"/build/gh/"
HASH_BYTES = 8
CHANCE = 2.0
"""Standard deviations."""
LARGEST = 2 ** (8 * HASH_BYTES) - 1


@dataclass(frozen=True, slots=True)
class Entry:
    """One member that may be chosen."""

    name: str
    weight: float
    """Above 0."""
    suffix: bytes
    """What the hash mixes with the key: a hyphen and the member's URL."""


def entry(name: str, url: str, weight: float) -> Entry:
    """Make the entry of a member."""
    return Entry(name, weight, b"-" + url.encode())


def key_of(path: bytes) -> bytes:
    """Give what a launch is spread by: the repository; for GitHub without the ref, as all refs share an image cache."""
    key = path.lower().rstrip(b"/")
    if key.startswith(GITHUB):
        parts = key.split(b"/", 5)
        return b"/".join(parts[:5]) if len(parts) > 5 else key.rpartition(b"/")[0]  # noqa: PLR2004 - /build/gh/o/r/ref
    return key


def digest(key: bytes) -> bytes:
    """Give the short name of a repository in the lists of images that members publish."""
    return blake2b(key, digest_size=HASH_BYTES).digest()


def draw(key: bytes, suffix: bytes) -> float:
    """Give ``-ln(u)`` of a member for a key: above 0; the smaller, the better."""
    number = int.from_bytes(blake2b(key + suffix, digest_size=HASH_BYTES).digest(), "big")
    return -math.log((number or 1) / LARGEST) or 1e-300


def choose(key: bytes, entries: Sequence[Entry]) -> int:
    """Give the index of the member that wins the key; ``entries`` has at least one."""
    best, winner = -1.0, 0
    for index, one in enumerate(entries):
        score = one.weight / draw(key, one.suffix)
        if score > best:
            best, winner = score, index
    return winner


def choose_evenly(entries: Sequence[Entry], u: float) -> int:
    """Give an index by chance alone, in proportion to the weights; ``u`` is even in [0, 1)."""
    left = u * sum(one.weight for one in entries)
    for index, one in enumerate(entries):
        left -= one.weight
        if left < 0:
            return index
    return len(entries) - 1


def prefer(key: bytes, entries: Sequence[Entry], home: int, holders: Iterable[int], busy: Collection[int]) -> int:
    """Give the member for a key whose image some have: home where it is one of them, or where all of them are busy.

    Among several the one that would win the key without the others, so that every redirector takes the same.
    """
    having = [index for index in holders if index not in busy]
    if not having or home in having:
        return home
    return having[choose(key, [entries[index] for index in having])]


def spill(key: bytes, entries: Sequence[Entry], home: int, busy: Collection[int]) -> int:
    """Give the next best member for a key whose home is busy; home where nobody else is free."""
    free = [index for index in range(len(entries)) if index not in busy] if home in busy else []
    return free[choose(key, [entries[index] for index in free])] if free else home


def busy(counts: Sequence[float], entries: Sequence[Entry], bound: float) -> frozenset[int]:
    """Give the indices of members that got more than their fair share, and ``bound`` of it more, of what was given.

    What chance alone may do (two standard deviations) does not count.
    """
    total, weights = sum(counts), sum(one.weight for one in entries)
    fair = [one.weight / weights * total for one in entries]
    return frozenset(
        index for index, part in enumerate(fair) if counts[index] > (1 + bound) * part + CHANCE * math.sqrt(part)
    )
