"""Makes the base image anew when it has become old, for security updates, while builds go on with the old one."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

import structlog

from binderlet.builder.base_image import KeptBase
from binderlet.errors import BinderletError
from binderlet.events.buildlog import BuildLog
from binderlet.tasks import Tasks

log = structlog.get_logger(__name__)

EVERY = 3600.0
"""Seconds between two looks."""


class Renewable(Protocol):
    """What it needs of ``BaseImages``."""

    async def kept(self) -> Sequence[KeptBase]:
        """Give the base images that are here."""

    async def renew(self, log: BuildLog) -> object:
        """Make it anew."""


class Renewal:
    """Looks now and then in the background; ``max_age`` is in seconds, 0 for never."""

    def __init__(
        self,
        bases: Renewable,
        log: Path,
        *,
        max_age: float,
        every: float = EVERY,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._bases = bases
        self._log = log
        self._max_age = max_age
        self._every = every
        self._clock = clock
        self._tasks = Tasks("base image")

    def start(self) -> None:
        """Begin to look."""
        if self._max_age:
            self._tasks.start(self._run(), name="renewal")

    async def close(self) -> None:
        """End it, and a renewal that is under way; the next look begins that again. Idempotent."""
        await self._tasks.close()

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(self._every)
            try:
                await self.look()
            except BinderletError as error:
                log.warning("the base image could not be renewed", error=error.message)

    async def look(self) -> bool:
        """Renew the base image if it is old enough; tells whether it was.

        Raises:
            BinderletError: it could not be made; the old one stays.
        """
        made = [base.made_at for base in await self._bases.kept() if base.is_current]
        if not made or self._clock() - min(made) < self._max_age:
            return False
        await asyncio.to_thread(self._log.unlink, missing_ok=True)
        build_log = BuildLog(self._log)
        build_log.write("The base image is old: it is made anew with Debian's packages of today.")
        try:
            await self._bases.renew(build_log)
        finally:
            await build_log.flush()
        log.info("base image renewed", log=str(self._log))
        return True
