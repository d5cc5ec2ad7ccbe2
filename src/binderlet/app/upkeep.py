"""Who looks after the disk, made of the parts of a running service; and what the status page shows of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from binderlet.app.bucket import BucketCare
from binderlet.app.machinery import Shelf
from binderlet.config import Settings
from binderlet.events.store import History
from binderlet.events.usage import ImageUse, image_uses
from binderlet.images.files import StateFiles
from binderlet.images.housekeeper import Housekeeper
from binderlet.images.pins import Pins
from binderlet.images.retention import Item, Kind
from binderlet.images.survey import Needs, World
from binderlet.launch.builds import Builds
from binderlet.sessions.book import Sessions

GOING_ON = {"waiting", "running"}
Reasons = Callable[[], Mapping[str, str]]
"""Gives names of images that must stay, each with why."""


@dataclass(frozen=True, slots=True)
class Parts:
    """What must be known to tell what is needed."""

    builds: Builds
    sessions: Sessions
    starting: Callable[[], int]
    """Gives how many sessions are being started."""
    history: History
    reasons: Sequence[Reasons] = ()
    """More reasons to keep images."""

    def needs(self) -> Needs:
        """Give what is needed now, from memory."""
        going_on = [build for build in self.builds.known() if build.state in GOING_ON]
        images = {session.image: "a session runs it" for session in self.sessions.running().values()}
        for reasons in self.reasons:
            images |= reasons()
        images |= {build.image: "it is being built" for build in going_on}
        return Needs(frozenset(build.id for build in going_on), [build.commit.clone_url for build in going_on], images)

    async def uses(self) -> Mapping[str, ImageUse]:
        """Give what the history knows of images."""
        return await image_uses(self.history)


class Upkeep:
    """``api.images.Storage`` of a running service. ``start``, then ``close``."""

    def __init__(self, settings: Settings, state: Path, shelf: Shelf, parts: Parts) -> None:
        self.bucket: BucketCare | None = None
        """Who looks after the second tier's bucket; None where there is none."""
        world = World(parts.needs, parts.uses, shelf.bases, lambda: parts.starting() > 0)
        files = StateFiles(state, clock=world.clock)
        self.housekeeper = Housekeeper(
            settings.disk,
            files,
            shelf.store,
            world,
            Pins(state / "pins.json", settings.disk.pins),
            spare=settings.builder.min_free_disk,
        )

    def free(self, _path: Path) -> int:
        """Give the bytes that builds may take, for those who refuse builds; blocks on the disk."""
        return self.housekeeper.free_now()

    def pin_of(self, name: str) -> str:
        """Say which pin keeps an image of that name, or of its repository or owner, as far as these are known."""
        survey = self.housekeeper.survey
        item = next((item for item in survey.items if item.name == name), None) if survey else None
        return self.housekeeper.pins.reason(item or Item(name, Kind.IMAGE, name, ()))

    def body(self) -> dict[str, Any]:
        """Give the sums for the status page, from memory."""
        keeper, survey = self.housekeeper, self.housekeeper.survey
        return {
            "used": survey.used if survey else None,
            "budget": keeper.budget,
            "room": keeper.room,
            "kinds": survey.by_kind() if survey else {},
            "measured_at": survey.at if survey else None,
            "bucket": self.bucket.body() if self.bucket else None,
        }

    def measured_by(self, registry: CollectorRegistry) -> None:
        """Have these sums among the metrics, too."""
        registry.register(DiskMetrics(self))


class DiskMetrics(Collector):
    """The sums as metrics."""

    def __init__(self, upkeep: Upkeep) -> None:
        self._upkeep = upkeep

    def collect(self) -> Iterable[Metric]:
        """Give them, from memory."""
        body = self._upkeep.body()
        used = GaugeMetricFamily("binderlet_disk_bytes", "Bytes that is kept, by kind.", labels=["kind"])
        for kind, size in body["kinds"].items():
            used.add_metric([kind], size)
        yield used
        yield GaugeMetricFamily("binderlet_disk_room_bytes", "Bytes that builds may still take.", body["room"])
        yield GaugeMetricFamily("binderlet_disk_budget_bytes", "Bytes that may be kept.", body["budget"] or 0)
        freed = CounterMetricFamily("binderlet_disk_freed_bytes", "Bytes that were freed, by kind.", labels=["kind"])
        for kind, size in self._upkeep.housekeeper.freed.items():
            freed.add_metric([kind], size)
        yield freed
