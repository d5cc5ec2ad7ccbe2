"""The redirector's choosing for many repositories and members at once, for the simulation; needs numpy.

Each function gives exactly what its namesake in ``pick.py`` or ``weights.py`` gives for each element; the tests
compare them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from binderlet.errors import MissingProgram
from binderlet.federation.config import Spread
from binderlet.federation.pick import CHANCE, Entry, draw
from binderlet.federation.weights import AT_START, STEPS

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]
    Bools = NDArray[np.bool_]

CANDIDATES = 24
"""Members that are looked at for a repository before all are: the best ones by the configured weights."""


def load_numpy() -> Any:  # noqa: ANN401 - the module
    """Import numpy.

    Raises:
        MissingProgram: it is not installed.
    """
    try:
        import numpy  # noqa: ICN001, PLC0415 - only the simulation needs it
    except ImportError as error:
        raise MissingProgram("The simulation needs numpy.", hint="pip install 'binderlet[simulate]'") from error
    return numpy


class Draws:
    """Every member's draw for every repository, as ``pick.draw`` gives it, and quick choices from them.

    A member's weight only ever falls below its configured one. So when the best of the first candidates, at today's
    weights, is at least as good as the first member that is no candidate would be at its whole weight, no other member
    can win: only the rows where that cannot be said are looked at whole.
    """

    def __init__(self, keys: Sequence[bytes], entries: Sequence[Entry]) -> None:
        self._np = np = load_numpy()
        self.draws: Floats = np.empty((len(keys), len(entries)))
        for row, key in enumerate(keys):
            self.draws[row] = [draw(key, one.suffix) for one in entries]
        weights = np.array([one.weight for one in entries])
        count = min(CANDIDATES, len(entries))
        whole = self.draws / weights
        order = np.argpartition(whole, count - 1, axis=1)[:, :count]
        self._members: Ints = order
        self._near: Floats = np.take_along_axis(self.draws, order, axis=1)
        np.put_along_axis(whole, order, np.inf, axis=1)
        self._bound: Floats = whole.min(axis=1)
        """The best score at whole weight of any member that is no candidate; lower is better."""

    def choose(self, rows: Ints, weights: Floats) -> Ints:
        """Give the member that wins each of these repositories at these weights, 0 meaning none; one is above 0."""
        np = self._np
        with np.errstate(divide="ignore"):
            inverse = 1 / weights
        near = self._members[rows]
        scores = self._near[rows] * inverse[near]
        best = scores.argmin(axis=1)
        index = np.arange(len(rows))
        found: Ints = near[index, best]
        unsure = np.flatnonzero(scores[index, best] > self._bound[rows])
        if len(unsure):
            found[unsure] = (self.draws[rows[unsure]] * inverse).argmin(axis=1)
        return found

    def spill(self, rows: Ints, homes: Ints, weights: Floats, busy: Bools) -> Ints:
        """Give the next best member for each repository whose home is busy."""
        np = self._np
        over = np.flatnonzero(busy[homes])
        left = np.where(busy, 0.0, weights)
        if not len(over) or not left.any():
            return homes
        found = homes.copy()
        found[over] = self.choose(rows[over], left)
        return found

    def prefer(self, rows: Ints, homes: Ints, weights: Floats, having: Bools, busy: Bools) -> Ints:
        """Give the member for each repository whose image some have; ``having``: by repository and member."""
        np = self._np
        missing = np.flatnonzero(~having[rows, homes])
        if not len(missing):
            return homes
        with np.errstate(divide="ignore"):
            inverse = np.where(busy, np.inf, 1 / weights)
        scores = np.where(having[rows[missing]], self.draws[rows[missing]] * inverse, np.inf)
        best = scores.argmin(axis=1)
        found = homes.copy()
        known = np.isfinite(scores[np.arange(len(missing)), best])
        found[missing[known]] = best[known]
        return found


def room_factors(quota: Ints, total: Ints, spread: Spread) -> Floats:
    """Give ``weights.room_factor`` of every member."""
    np = load_numpy()
    left = quota - total - np.minimum(spread.reserve, quota // 2)
    eased = spread.ease * quota
    with np.errstate(over="ignore"):
        part = np.divide(left, eased, out=np.ones(len(quota)), where=eased > 0)
        stepped = np.maximum(1, np.round(part * STEPS)) / STEPS
    factors: Floats = np.where(left <= 0, 0.0, np.where(left >= eased, 1.0, stepped))
    return factors


def start_factors(back_at: Floats, now: float, slow_start: float) -> Floats:
    """Give ``weights.start_factor`` of every member; ``back_at`` is -inf for those that were there all along."""
    np = load_numpy()
    since = now - back_at
    if slow_start == 0:
        ones: Floats = np.ones(len(back_at))
        return ones
    part = np.minimum(AT_START + (1 - AT_START) * np.maximum(0.0, np.minimum(since, slow_start)) / slow_start, 1.0)
    factors: Floats = np.where(since >= slow_start, 1.0, np.maximum(1, np.round(part * STEPS)) / STEPS)
    return factors


def busy_members(counts: Floats, weights: Floats, bound: float) -> Bools:
    """Give ``pick.busy`` of every member."""
    fair = weights / weights.sum() * counts.sum()
    found: Bools = counts > (1 + bound) * fair + CHANCE * fair**0.5
    return found
