"""Looks after the parts in the background, so that ``/health`` and ``/status`` answer from memory.

Each part is asked every few seconds; a data path that is gone is started again with all its routes.
"""

from __future__ import annotations

import asyncio
import shutil
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import structlog

from binderlet.engine.base import Engine
from binderlet.errors import BinderletError
from binderlet.model import Check
from binderlet.router.base import Router

log = structlog.get_logger(__name__)

EVERY = 5.0
"""Seconds between looks."""


class Vitals:
    """Keeps a ``Check`` for the engine, the data path and the disk."""

    def __init__(
        self,
        engine: Engine,
        router: Router,
        *,
        state: Path,
        min_free_disk: int,
        free_disk: Callable[[Path], int] = lambda path: shutil.disk_usage(path).free,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._engine = engine
        self._router = router
        self._state = state
        self._min_free_disk = min_free_disk
        self._free_disk = free_disk
        self._sleep = sleep
        self._checks: dict[str, Check] = {}
        self._others: list[Callable[[], Check]] = []
        self.started_at = clock()

    @property
    def checks(self) -> tuple[Check, ...]:
        """What was seen at the last look."""
        return tuple(self._checks.values())

    def include(self, check: Callable[[], Check]) -> None:
        """Take in what another part knows of itself; asked at each look, from memory."""
        self._others.append(check)

    async def run(self) -> None:
        """Look again and again, until cancelled."""
        while True:
            await self.look()
            await self._sleep(EVERY)

    async def look(self) -> None:
        """Look once at every part."""
        await self._ask("Container engine", self._engine.ping)
        await self._ask("Data path", self._router.ping)
        if not self._checks["Data path"].ok:
            await self._ask("Data path", self._revive)
        free = await asyncio.to_thread(self._free_disk, self._state)
        enough = free >= self._min_free_disk
        message = f"{free / 1024**3:.1f} GB free" + ("" if enough else ": builds are refused until there is more")
        for other in self._others:
            self._note(other())
        self._note(Check("Disk", enough, message, ignore_failure=True))

    async def _revive(self) -> str:
        await self._router.prepare()
        return await self._router.ping()

    async def _ask(self, service: str, ping: Callable[[], Awaitable[str]]) -> None:
        try:
            async with asyncio.timeout(EVERY * 2):
                self._note(Check(service, ok=True, message=await ping()))
        except BinderletError as error:
            self._note(Check(service, ok=False, message=f"{error.message} {error.hint}"))
        except TimeoutError:
            self._note(Check(service, ok=False, message=f"No answer within {EVERY * 2:.0f} seconds."))

    def _note(self, check: Check) -> None:
        before = self._checks.get(check.service)
        if before is None or before.ok != check.ok:
            tell = log.info if check.ok else log.error
            tell("check changed", service=check.service, ok=check.ok, message=check.message)
        self._checks[check.service] = check
