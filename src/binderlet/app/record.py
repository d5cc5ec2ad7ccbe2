"""What happens, put on record: metrics, history, archive."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path

from binderlet import __version__
from binderlet.api.health import is_healthy
from binderlet.app.statistics import Counting
from binderlet.config import Settings
from binderlet.events.archive import Archive
from binderlet.events.bus import Bus
from binderlet.events.metrics import Metrics
from binderlet.events.store import History
from binderlet.model import ServiceStatus
from binderlet.tasks import Tasks


class Record:
    """Listens to the bus and writes behind it; ``keep`` once, ``close`` at the end."""

    def __init__(
        self,
        state: Path,
        settings: Settings,
        status: Callable[[], ServiceStatus],
        provider_names: Mapping[str, str],
        *,
        ca_bundle: Path | None = None,
    ) -> None:
        self.metrics = Metrics(status, version=__version__, provider_names=provider_names)
        self.history = History(state / "history.sqlite", keep=settings.events.history)
        self._archive = Archive(state / "archive", origin=settings.archive.origin, private=settings.archive.private)
        self._archives = settings.events.archive
        self.counting = Counting(state, settings, is_well=lambda: is_healthy(status()), ca_bundle=ca_bundle)

    async def keep(self, bus: Bus, tasks: Tasks) -> None:
        """Put on record what the bus tells from now on, and what an earlier process had no time for."""
        bus.listen(self.metrics.listen)
        bus.listen(self.history.listen)
        tasks.start(self.history.run(), name="history")
        if self._archives:
            await self._archive.open()
            bus.listen(self._archive.listen)
            tasks.start(self._archive.run(), name="archive")
        self.counting.start(tasks)

    def render(self) -> bytes:
        """Give the metrics as Prometheus reads them."""
        self.metrics.set_dropped("history", self.history.dropped)
        self.metrics.set_dropped("launch events", self._archive.dropped)
        fresh = self.counting.publisher.freshness
        self.metrics.set_archive(fresh.published_at, fresh.behind(time.time()))
        return self.metrics.render()

    async def close(self) -> None:
        """Write what is left, and let go of the files."""
        await self.history.close()
        await self._archive.close()
