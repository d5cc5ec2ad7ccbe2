"""A queue that is fair to owners: each in turn gives one, however many the others have waiting. Pure."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

K = TypeVar("K")


class FairQueue(Generic[K]):
    """Keys wait under their owner; owners take turns, the keys of one owner keep their order."""

    def __init__(self) -> None:
        self._owners: OrderedDict[str, deque[K]] = OrderedDict()

    def __len__(self) -> int:
        return sum(len(keys) for keys in self._owners.values())

    def put(self, key: K, owner: str) -> None:
        """Let a key wait."""
        self._owners.setdefault(owner, deque()).append(key)

    def remove(self, key: K) -> bool:
        """Take a key out wherever it stands; False where it was not waiting."""
        for owner, keys in self._owners.items():
            if key in keys:
                keys.remove(key)
                if not keys:
                    del self._owners[owner]
                return True
        return False

    def pop(self, may: Callable[[K], bool] = lambda _: True) -> K | None:
        """Take the next key that ``may`` go, and move its owner to the end; None where none may."""
        for owner, keys in self._owners.items():
            for key in keys:
                if may(key):
                    keys.remove(key)
                    if keys:
                        self._owners.move_to_end(owner)
                    else:
                        del self._owners[owner]
                    return key
        return None

    def order(self) -> Iterator[K]:
        """Give the keys in the order they would be taken if all might go."""
        rounds = [list(keys) for keys in self._owners.values()]
        for turn in range(max(map(len, rounds), default=0)):
            for keys in rounds:
                if turn < len(keys):
                    yield keys[turn]
