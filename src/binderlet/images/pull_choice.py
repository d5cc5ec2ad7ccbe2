"""Whether an image is pulled or built (pure): what costs less time, from sizes, measured rates and known builds."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from binderlet.images.registry.base import Progress, Remote

OVERHEAD = 0.5
"""Seconds that a pull takes however small it is."""
FIRST_RATE = 20 * 2**20
"""Bytes per second that a registry is taken to give before anything was pulled from it."""
TELLING = 2**20
"""Bytes from which on a pull says something about the rate."""
WEIGHT = 0.5
"""Of the latest pull, against all before."""
GRACE = 10.0
"""Seconds in which a pull is not judged."""
MARGIN = 2.0
"""A pull that is under way goes on while it is expected to end within so many times the build."""


@dataclass(slots=True)
class Rate:
    """How fast a registry has been, downloading and unpacking together."""

    bytes_per_second: float = FIRST_RATE

    def measured(self, size: int, seconds: float) -> None:
        """Take in one pull."""
        if size >= TELLING and seconds > 0:
            self.bytes_per_second += WEIGHT * (size / seconds - self.bytes_per_second)


def missing_bytes(remote: Remote, here: Collection[str]) -> int:
    """Give what must be moved where the layers of these diff ids are here."""
    return sum(layer.size for layer in remote.layers if layer.diff_id not in here)


def pull_seconds(size: int, rate: Rate) -> float:
    """Give how long a pull is expected to take."""
    return OVERHEAD + size / rate.bytes_per_second


def is_worth_pulling(size: int, rate: Rate, build_seconds: float) -> bool:
    """Whether pulling so many bytes is no slower than building."""
    return pull_seconds(size, rate) <= max(build_seconds, OVERHEAD * 2)


def is_still_worth(progress: Progress, elapsed: float, build_seconds: float) -> bool:
    """Whether a pull that has gone on for so long should go on."""
    if elapsed < GRACE or progress.done >= progress.total:
        return True
    left = (progress.total - progress.done) * elapsed / progress.done if progress.done else float("inf")
    return left <= build_seconds * MARGIN
