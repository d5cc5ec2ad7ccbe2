"""Ends sessions that are idle or too old, and keeps memory and routes true to the engine."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Collection, Mapping
from pathlib import Path
from typing import Any

import structlog

from binderlet.config.schema import CullSettings
from binderlet.errors import BinderletError, RouterUnavailable, SessionNotFound
from binderlet.model import Session, Traffic
from binderlet.router.base import Router
from binderlet.sessions.activity import Activity
from binderlet.sessions.book import Sessions
from binderlet.sessions.policy import IDLE, Cull, Outlook, decide, outlook, times_of
from binderlet.sessions.reconcile import Reconciled

log = structlog.get_logger(__name__)

AT_ONCE = 8
"""Sessions that are ended at the same time."""


class Keeper:
    """Looks at sessions every ``cull.every`` and reconciles every ``cull.reconcile_every``, each in a loop of its own.

    ``computing`` gives, from memory, the sessions whose containers use CPU time.
    What it knows of activity is kept in the file ``state``, so that a restart forgets nobody's idleness.
    """

    def __init__(
        self,
        sessions: Sessions,
        router: Router,
        settings: CullSettings,
        *,
        state: Path | None = None,
        computing: Callable[[], Collection[str]] = tuple,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._computing = computing
        self._sessions = sessions
        self._router = router
        self._settings = settings
        self._state = state
        self._clock = clock
        self._activity: Activity | None = None
        self._loading = asyncio.Lock()
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
        activity, sessions = await self._known(), self._sessions.settled()
        judged = await self._observe(activity, sessions)
        now = self._clock()
        last_active = activity.last_active if judged else None
        culls = decide(sessions.values(), last_active, now, self._settings, activity.extended)
        culls = await self._without_busy(culls, activity, sessions)
        if self._state is not None:
            await asyncio.to_thread(_save, self._state, activity.as_json())
        results = await asyncio.gather(*map(self._end, culls), return_exceptions=True)
        for error in results:
            if error is not None:
                raise error
        return culls

    async def extend(self, session_id: str, seconds: float) -> float:
        """Let a session stay that much longer than now, used or not, and give until when.

        Raises:
            SessionNotFound: no session of that id runs.
        """
        if session_id not in self._sessions.settled():
            raise SessionNotFound(f"There is no session {session_id!r}.")
        activity = await self._known()
        until = activity.extended[session_id] = self._clock() + seconds
        if self._state is not None:
            await asyncio.to_thread(_save, self._state, activity.as_json())
        return until

    @property
    def looked_at(self) -> float:
        """When it last looked at who uses what, in seconds since the epoch; now before the first look."""
        return self._activity.read_at if self._activity else self._clock()

    def outlook(self, session: Session) -> Outlook:
        """Give when a session ends if nobody uses it, from memory: as of the last look, or as if used now before it."""
        now, activity = self._clock(), self._activity or Activity.empty(self._clock())
        active = activity.last_active.get(session.id, now)
        if session.id in self._computing():
            # What runs in it keeps it, but only so long.
            used = activity.busy_since.get(session.id, active)
            active = max(active, min(now, used + self._settings.busy_max))
        return outlook(session, active, self._settings, activity.extended.get(session.id, 0.0))

    async def _known(self) -> Activity:
        async with self._loading:
            if self._activity is None:
                self._activity = await asyncio.to_thread(_load, self._state, self._clock())
            return self._activity

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
        """Spare the idle sessions in which something still runs: their visitor waits for it, up to ``busy_max``."""
        now, computing = self._clock(), self._computing()
        asked = [
            cull.session_id
            for cull in culls
            if cull.reason == IDLE
            and activity.busy_for(cull.session_id, now) < self._longest(sessions[cull.session_id])
        ]
        unknown = [session_id for session_id in asked if session_id not in computing]
        busy = await asyncio.gather(*(self._sessions.is_busy(sessions[session_id]) for session_id in unknown))
        spared = {*asked} - {session_id for session_id, computes in zip(unknown, busy, strict=True) if not computes}
        for session_id in spared:
            activity.touch(session_id, now)
        return [cull for cull in culls if cull.session_id not in spared]

    def _longest(self, session: Session) -> float:
        """Give how long a session may go on by what runs in it alone, its idle time included."""
        return self._settings.busy_max + times_of(session, self._settings).idle

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


def _save(state: Path, activity: Mapping[str, Any]) -> None:
    temporary = state.with_name(state.name + ".new")
    try:
        state.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_text(json.dumps(activity))
        temporary.replace(state)
    except OSError as error:
        log.warning("what is known of activity cannot be kept", error=str(error))
