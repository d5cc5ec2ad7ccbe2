"""Keeps reservations, and gets their images ready: at once when they are made, and again before they begin."""

from __future__ import annotations

import asyncio
import json
import math
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import structlog

from binderlet.config.schema import StandbySettings
from binderlet.errors import BinderletError, ReservationNotFound
from binderlet.model import RepoSpec
from binderlet.sessions.demand import Demands
from binderlet.sessions.order import SessionOrder
from binderlet.sessions.standby import Reservation
from binderlet.tasks import Tasks

log = structlog.get_logger(__name__)

SAVE_EVERY = 5.0
"""Seconds after which what was launched lately is written again, if anything was."""
PREPARE_EVERY = 600.0
"""Seconds between looks at which commit and image a reservation means, while it is open."""

Prepare = Callable[[RepoSpec, str], Awaitable[SessionOrder]]
"""Finds the commit of a spec and builds its image if there is none; the host is empty where it is not known."""


class Reservations:
    """The runner of ``Demands``: what must be remembered goes into ``file``; ``wake`` is called for a new one."""

    def __init__(
        self,
        demands: Demands,
        settings: StandbySettings,
        tasks: Tasks,
        *,
        prepare: Prepare,
        file: Path,
        wake: Callable[[], None] = lambda: None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._demands = demands
        self._settings = settings
        self._tasks = tasks
        self._prepare = prepare
        self._file = file
        self._wake = wake
        self._clock = clock
        self._prepared_at: dict[str, float] = {}
        self._saved_at = -math.inf
        self._saved = ""

    @property
    def all(self) -> Sequence[Reservation]:
        """Those that have not ended, in the order in which they begin."""
        return self._demands.reservations

    def images(self) -> set[str]:
        """Give the names of the images that reservations need."""
        return self._demands.reserved_images()

    def with_ready(self, ready: Mapping[str, int]) -> Sequence[tuple[Reservation, int]]:
        """Give each with how many standbys, counted by key, are there for it."""
        return [(one, self._demands.ready_for(one, ready)) for one in self.all]

    async def add(self, spec: RepoSpec, host: str, count: int, begins: float, ends: float) -> Reservation:
        """Keep sessions ready for an event; its image is built at once, in the background."""
        made = self._demands.reserve(spec, host, count, begins, ends)
        self._start_preparing(made)
        self._wake()
        await self.save()
        return made

    async def cancel(self, reservation_id: str) -> None:
        """Drop a reservation; its standbys go with the next look.

        Raises:
            ReservationNotFound: there is none of that id.
        """
        if not self._demands.cancel(reservation_id):
            raise ReservationNotFound(f"There is no reservation {reservation_id!r}.")
        await self.save()

    async def look(self, now: float) -> None:
        """Prepare what is open, and keep what was launched lately."""
        for one in self.all:
            prepared = self._prepared_at.get(one.id, -math.inf)
            if one.is_open(now, self._settings) and now - prepared >= PREPARE_EVERY:
                self._start_preparing(one)
        if now - self._saved_at >= SAVE_EVERY:
            await self.save()

    def _start_preparing(self, reservation: Reservation) -> None:
        self._prepared_at[reservation.id] = self._clock()
        self._tasks.start(self._prepare_one(reservation), name=f"prepare reservation {reservation.id}")

    async def _prepare_one(self, reservation: Reservation) -> None:
        host = self._demands.host_of(reservation)
        try:
            self._demands.prepared(reservation.id, await self._prepare(reservation.spec, host))
        except BinderletError as error:
            log.warning("a reservation cannot be prepared", reservation=reservation.id, error=error.message)
            self._demands.fail(reservation.id, error.message)

    async def load(self) -> None:
        """Read what an earlier process kept; a file that makes no sense is kept under another name."""
        try:
            self._demands.load(await asyncio.to_thread(_read, self._file))
        except OSError as error:
            log.warning("reservations and what was launched lately cannot be read", error=str(error))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            aside = self._file.with_suffix(".unreadable")
            await asyncio.to_thread(self._file.replace, aside)
            log.warning(
                "reservations and what was launched lately make no sense", kept_as=str(aside), error=repr(error)
            )

    async def save(self) -> None:
        """Keep everything; where the disk does not take it, that is logged."""
        self._saved_at, text = self._clock(), json.dumps(self._demands.as_json())
        if text == self._saved:
            return
        try:
            await asyncio.to_thread(_write, self._file, text)
            self._saved = text
        except OSError as error:
            log.warning("reservations and what was launched lately cannot be kept", error=str(error))


def _read(file: Path) -> dict[str, Any]:
    nothing: dict[str, Any] = {"host": "", "popular": [], "reservations": []}
    found: dict[str, Any] = json.loads(file.read_text()) if file.exists() else nothing
    return found


def _write(file: Path, text: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    temporary = file.with_suffix(".new")
    temporary.write_text(text)
    temporary.replace(file)
