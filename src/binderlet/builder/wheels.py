"""Brings wheels into the package cache, in the background after builds that have kept them out of it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol

import structlog

from binderlet.builder.backlog import Backlog
from binderlet.builder.base import BaseImage
from binderlet.builder.job import Outcome
from binderlet.builder.layers import Work
from binderlet.errors import BinderletError

log = structlog.get_logger(__name__)

SECONDS = 900.0
"""How long one run may take."""
DELAY = 3.0
"""Seconds after a build: the session that waited for it starts first."""


class Fetcher(Protocol):
    """What it needs of ``Layers``."""

    async def fetch(self, work: Work, base: BaseImage) -> Outcome:
        """Bring the wheels of ``work.resolution`` into the cache."""


@dataclass(frozen=True, slots=True)
class _Wanted:
    work: Work
    base: BaseImage
    then: Callable[[], None]


class Wheels:
    """Fetches for one builder, one environment's wheels at a time.

    Those that are lost when the control plane ends, or that cannot be had, are new once more to the next build.
    """

    def __init__(self, fetcher: Fetcher, *, delay: float = DELAY) -> None:
        self._fetcher = fetcher
        self._backlog = Backlog("wheels", self._fetch, lambda: asyncio.sleep(delay))

    def want(self, key: str, work: Work, base: BaseImage, then: Callable[[], None]) -> None:
        """Fetch what an environment ``key`` has that the cache lacks, soon; ``then`` is called whatever came of it.

        Returns at once; whatever goes wrong is only logged.
        """
        self._backlog.add(key, _Wanted(work, base, then))

    async def wait(self) -> None:
        """Return once there is nothing left to do."""
        await self._backlog.wait()

    async def close(self) -> None:
        """Stop waiting; a run that is under way goes on by itself. Idempotent."""
        await self._backlog.close()

    async def _fetch(self, wanted: _Wanted) -> None:
        work = replace(wanted.work, deadline=time.monotonic() + SECONDS)
        try:
            outcome = await self._fetcher.fetch(work, wanted.base)
            if outcome.code:
                log.warning("wheels cannot be fetched", reason=outcome.reason, said=outcome.tail[-500:])
        except BinderletError as error:
            log.warning("wheels cannot be fetched", error=error.message)
        wanted.then()
