"""Ends sessions that are idle or too old, and keeps memory and routes true to the engine."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path

import structlog

from binderlet.config.schema import CullSettings
from binderlet.errors import BinderletError, RouterUnavailable
from binderlet.model import Session, Traffic
from binderlet.router.base import Router
from binderlet.sessions.activity import Activity
from binderlet.sessions.book import Sessions
from binderlet.sessions.policy import IDLE, Cull, decide
from binderlet.sessions.reconcile import Reconciled

log = structlog.get_logger(__name__)

AT_ONCE = 8
"""Sessions that are ended at the same time."""


class Keeper:
    """Looks at sessions every ``cull.every`` and reconciles every ``cull.reconcile_every``, each in a loop of its own.

    What it knows of activity is kept in the file ``state``, so that a restart forgets nobody's idleness.
    """

    def __init__(
        self,
        sessions: Sessions,
        router: Router,
        settings: CullSettings,
        *,
        state: Path | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._sessions = sessions
        self._router = router
        self._settings = settings
        self._state = state
        self._clock = clock
        self._activity: Activity | None = None
        self._few = asyncio.Semaphore(AT_ONCE)

    @property
    def last_active(self) -> Mapping[str, float]:
        """When each session was last used, in seconds since the epoch, as of the last look."""
        return self._activity.last_active if self._activity else {}

    @property
    def traffic(self) -> Mapping[str, Traffic]:
        """The router's counters as of the last look."""
        return self._activity.traffic if self._activity else {}

    async def run(self) -> None:
        """Keep going until cancelled; what fails is logged and tried again."""
        await asyncio.gather(
            self._repeat("looking for idle sessions", self._settings.every, self.look),
            self._repeat("reconciling", self._settings.reconcile_every, self._sessions.reconcile),
        )

    async def look(self) -> list[Cull]:
        """Read the traffic, end what is to end, and give what was ended.

        Raises:
            EngineUnavailable: the engine does not answer; reconciling will end the sessions later.
        """
        if self._activity is None:
            self._activity = await asyncio.to_thread(_load, self._state, self._clock())
        activity, sessions = self._activity, self._sessions.settled()
        judged = await self._observe(activity, sessions)
        now = self._clock()
        culls = decide(sessions.values(), activity.last_active if judged else None, now, self._settings)
        culls = await self._without_busy(culls, activity, sessions)
        if self._state is not None:
            await asyncio.to_thread(_save, self._state, activity)
        results = await asyncio.gather(*map(self._end, culls), return_exceptions=True)
        for error in results:
            if error is not None:
                raise error
        return culls

    async def _end(self, cull: Cull) -> None:
        async with self._few:
            await self._sessions.stop(cull.session_id, cull.reason)

    async def _observe(self, activity: Activity, sessions: Mapping[str, Session]) -> bool:
        """Take a reading of the traffic; False where the router does not answer."""
        try:
            traffic = await self._router.traffic()
        except RouterUnavailable as error:
            log.warning("nobody is culled as idle: the router does not answer", error=str(error), hint=error.hint)
            activity.interrupt()
            return False
        activity.observe(traffic, sessions, self._clock())
        return True

    async def _without_busy(self, culls: list[Cull], activity: Activity, sessions: Mapping[str, Session]) -> list[Cull]:
        """Spare the idle sessions in which a cell still runs: their visitor waits for it."""
        idle = [cull for cull in culls if cull.reason == IDLE]
        busy = await asyncio.gather(*(self._sessions.is_busy(sessions[cull.session_id]) for cull in idle))
        spared = {cull.session_id for cull, computes in zip(idle, busy, strict=True) if computes}
        for session_id in spared:
            activity.touch(session_id, self._clock())
        return [cull for cull in culls if cull.session_id not in spared]

    async def _repeat(self, what: str, every: float, work: Callable[[], Awaitable[list[Cull] | Reconciled]]) -> None:
        while True:
            try:
                await work()
            except BinderletError as error:
                log.warning("failed; will try again", work=what, error=str(error), hint=error.hint)
            except Exception:
                log.exception("broke; will try again", work=what)
            await asyncio.sleep(every)


def _load(state: Path | None, now: float) -> Activity:
    """Read what an earlier process knew; nothing where there is no such file or it cannot be read."""
    if state is None or not state.exists():
        return Activity.empty(now)
    try:
        return Activity.from_json(json.loads(state.read_text()))
    except (OSError, ValueError, KeyError, TypeError) as error:
        log.warning("what is known of activity cannot be read: everyone counts as active now", error=str(error))
        return Activity.empty(now)


def _save(state: Path, activity: Activity) -> None:
    temporary = state.with_name(state.name + ".new")
    try:
        state.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_text(json.dumps(activity.as_json()))
        temporary.replace(state)
    except OSError as error:
        log.warning("what is known of activity cannot be kept", error=str(error))
