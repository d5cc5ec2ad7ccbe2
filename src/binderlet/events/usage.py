"""What the history tells of images: how often each was launched, when last, and how long its build took."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from sqlite3 import Row
from typing import Protocol

DAY = 86400
LAUNCHES = (
    f"SELECT image, CAST(started_at / {DAY} AS INTEGER) AS day, COUNT(*) AS launches, MAX(started_at) AS last,"  # noqa: S608 - a constant
    " MAX(repo_url) AS repo_url FROM sessions GROUP BY image, day"
)
BUILDS = (
    "SELECT image, MAX(ended_at - started_at) AS seconds, MAX(repo_url) AS repo_url FROM builds"
    " WHERE status = 'success' AND ended_at IS NOT NULL GROUP BY image"
)


@dataclass(slots=True)
class ImageUse:
    """What is known of one image."""

    repository: str = ""
    launches: list[tuple[float, int]] = field(default_factory=list)
    """When, to the day, and how many."""
    last_launch: float = 0.0
    """Seconds since the epoch; 0 for never."""
    build_seconds: float = 0.0
    """How long its slowest build took; 0 where that is not known."""

    @property
    def count(self) -> int:
        """All launches that are on record."""
        return sum(number for _, number in self.launches)


class Rows(Protocol):
    """What is needed of ``events.store.History``."""

    async def select(self, sql: str) -> Sequence[Row]:
        """Read rows."""


async def image_uses(history: Rows) -> Mapping[str, ImageUse]:
    """Give what is known of images, by their names.

    Raises:
        StoreUnavailable: the database cannot be read.
    """
    uses: dict[str, ImageUse] = {}
    for row in await history.select(LAUNCHES):
        use = uses.setdefault(row["image"], ImageUse())
        use.launches.append((min(row["last"], (row["day"] + 1.0) * DAY), row["launches"]))
        use.last_launch = max(use.last_launch, row["last"])
        use.repository = row["repo_url"]
    for row in await history.select(BUILDS):
        use = uses.setdefault(row["image"], ImageUse())
        use.build_seconds = max(0.0, row["seconds"])
        use.repository = use.repository or row["repo_url"]
    return uses
