"""The sessions of this service: started, routed, watched, ended. The engine's list is the truth, this is its mirror."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import structlog

from binderlet.config.schema import Settings
from binderlet.engine.base import Engine
from binderlet.errors import EngineUnavailable, RouterUnavailable, SessionDied, SessionNotFound
from binderlet.events.bus import Bus
from binderlet.events.kinds import SessionEnded
from binderlet.model import Route, Session, SessionSpec, SessionState
from binderlet.router.base import Router
from binderlet.sessions.command import session_spec
from binderlet.sessions.order import SessionOrder
from binderlet.sessions.pool import Pool
from binderlet.sessions.probe import Probe
from binderlet.sessions.ready import until_ready
from binderlet.sessions.reconcile import Known, Mend, Reconciled, compare
from binderlet.sessions.slots import Slots, default_concurrency
from binderlet.tasks import Tasks

log = structlog.get_logger(__name__)

FIRST_PAUSE = 0.5
LONGEST_PAUSE = 2.0
"""Seconds between attempts to watch the engine: a session's death is noticed within 5 seconds."""
SETTLED = 0.2
"""Seconds after which a new watch of the engine surely listens."""
ENDED_ITSELF = "stopped"
DIED = "died"
ABANDONED = "abandoned"


@dataclass(slots=True)
class _Entry:
    """One session in memory."""

    session: Session
    ready: bool = False
    """Whether it was handed to a launch, or found running: only the end of such a session is told."""
    found: bool = False
    """Whether an earlier control plane started it."""
    routed: bool = False


class Sessions:
    """Starts sessions and ends them; ``run`` notices those that end by themselves.

    ``environment`` is added to every session's own. ``standbys`` are the sessions started ahead; ``engine`` is then the
    pool's. Every method may be called concurrently.
    """

    def __init__(
        self,
        engine: Engine,
        router: Router,
        settings: Settings,
        bus: Bus,
        tasks: Tasks,
        *,
        environment: Mapping[str, str] | None = None,
        standbys: Pool | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._engine = engine
        self._standbys = standbys
        self._router = router
        self._settings = settings
        self._bus = bus
        self._tasks = tasks
        self._environment = dict(environment or {})
        self._clock = clock
        self._probe = Probe()
        self._slots = Slots(settings.session.start_concurrency or default_concurrency())
        self._entries: dict[str, _Entry] = {}
        self._starting: set[str] = set()
        self._deaths: dict[str, asyncio.Future[Session]] = {}
        self._unwanted: dict[str, str] = {}
        self._departed: set[str] = set()
        self._turns: dict[str, asyncio.Lock] = {}
        self._reconciling = asyncio.Lock()
        self._gone_listeners: list[Callable[[Session], None]] = []
        self._reconciled_listeners: list[Callable[[Reconciled], None]] = []
        self._watching = False

    # What runs.

    def running(self) -> Mapping[str, Session]:
        """Give the sessions that run or start, by id, from memory."""
        return {session_id: entry.session for session_id, entry in self._entries.items()}

    def settled(self) -> Mapping[str, Session]:
        """Give the sessions that run and are not being started, by id, from memory."""
        return {session_id: entry.session for session_id, entry in self._entries.items() if entry.ready}

    def per_repository(self) -> Counter[str]:
        """Count the sessions of each repository, from memory."""
        return Counter(entry.session.repo_url for entry in self._entries.values())

    def on_gone(self, listener: Callable[[Session], None]) -> None:
        """Call ``listener`` once for each session that ended after ``start`` returned it or ``reconcile`` found it."""
        self._gone_listeners.append(listener)

    def on_reconciled(self, listener: Callable[[Reconciled], None]) -> None:
        """Call ``listener`` each time ``reconcile`` found that something was not as it should be."""
        self._reconciled_listeners.append(listener)

    async def is_busy(self, session: Session) -> bool:
        """Whether one of its kernels computes right now; False where that cannot be known."""
        return await self._probe.is_busy(session)

    # Starting.

    async def start(self, order: SessionOrder) -> Session:
        """Adopt a standby that answers, or start a session and wait until it answers with HTTP 200.

        On failure or cancellation the session is ended again.

        Raises:
            ImageMissing: the engine has no such image.
            SessionDied: it ended before it answered; the message has its last lines.
            SessionSilent: it did not answer in time.
            EngineUnavailable: the engine does not answer.
        """
        if self._standbys is not None and (adopted := await self._standbys.take(order)) is not None:
            self._entries[adopted.id] = _Entry(adopted, ready=True)
            return adopted
        async with self._slots.hold():
            if self._standbys is not None:
                await self._standbys.make_room()
            spec = session_spec(order, self._settings, now=self._clock(), environment=self._environment)
            death = self._expect_death(spec.id)
            self._starting.add(spec.id)
            try:
                return await self._start(spec, death)
            finally:
                self._starting.discard(spec.id)
                self._deaths.pop(spec.id, None)

    async def _start(self, spec: SessionSpec, death: asyncio.Future[Session]) -> Session:
        try:
            session = await self._engine.start(spec)
            entry = self._entries[spec.id] = _Entry(replace(session, state=SessionState.STARTING))
            await self._until_ready(session, death)
        except BaseException:
            await self._abandon(spec.id)
            raise
        entry.session, entry.ready = replace(session, state=SessionState.RUNNING), True
        return entry.session

    async def wait_ready(self, session: Session) -> None:
        """Wait until a session that ``reconcile`` found answers.

        Raises:
            SessionDied: it ended before that.
            SessionSilent: it did not answer in time.
        """
        if session.id not in self._entries:
            raise SessionDied("The session ended before it answered.")
        death = self._expect_death(session.id)
        try:
            await self._until_ready(session, death)
        finally:
            self._deaths.pop(session.id, None)

    async def route(self, session: Session) -> None:
        """Lead visitors to a session.

        Raises:
            RouterUnavailable: the router does not answer.
            SessionDied: it ended meanwhile.
        """
        entry = self._entries.get(session.id)
        if entry is not None:
            await self._router.add(Route(session.id, session.address))
            entry.routed = True
        if session.id not in self._entries:
            await self._remove_route(session.id)
            raise SessionDied("The session ended before visitors were led to it.")

    def _expect_death(self, session_id: str) -> asyncio.Future[Session]:
        return self._deaths.setdefault(session_id, asyncio.get_running_loop().create_future())

    async def _until_ready(self, session: Session, death: asyncio.Future[Session]) -> None:
        timeout = self._settings.session.start_timeout
        await until_ready(session, death, self._engine, self._probe, timeout=timeout, is_watched=lambda: self._watching)

    async def _abandon(self, session_id: str) -> None:
        try:
            await self.stop(session_id, ABANDONED)
        except EngineUnavailable as error:
            log.warning("a session that failed cannot be ended yet", session=session_id, error=str(error))

    # Ending.

    async def stop(self, session_id: str, reason: str, *, must_exist: bool = False) -> None:
        """End a session, its route first; returns once it is gone. Idempotent: the first reason is told.

        Raises:
            SessionNotFound: ``must_exist`` was given and no session of that id runs.
            EngineUnavailable: the engine does not answer; ``reconcile`` will end the session later.
        """
        if must_exist and session_id not in self._entries:
            raise SessionNotFound(f"There is no session {session_id!r}.")
        self._unwanted.setdefault(session_id, reason)
        async with self._turns.setdefault(session_id, asyncio.Lock()):
            if session_id not in self._unwanted:
                return  # another caller ended it while this one waited
            await self._remove_route(session_id)
            await self._engine.stop(session_id)
            self._forget(session_id, self._unwanted[session_id])

    async def _remove_route(self, session_id: str) -> None:
        try:
            await self._router.remove(session_id)
        except RouterUnavailable as error:
            log.warning("a route cannot be removed yet", session=session_id, error=str(error))

    def _forget(self, session_id: str, reason: str) -> None:
        self._unwanted.pop(session_id, None)
        self._turns.pop(session_id, None)
        self._departed.add(session_id)
        entry = self._entries.pop(session_id, None)
        if entry is None or not entry.ready:
            return
        log.info("session ended", session=session_id, reason=reason, because=entry.session.ended_because)
        self._bus.tell(SessionEnded(entry.session, self._clock(), reason))
        _tell(self._gone_listeners, entry.session)

    # Watching.

    async def run(self) -> None:
        """Notice sessions that end by themselves, until cancelled; while the engine is away nothing is dropped."""
        pause = FIRST_PAUSE
        while True:
            began = time.monotonic()
            try:
                await self._watch()
            except EngineUnavailable as error:
                log.warning("the engine cannot be watched; will try again", error=str(error), hint=error.hint)
            except Exception:
                log.exception("watching the engine broke; will try again")
            finally:
                self._watching = False
            pause = FIRST_PAUSE if time.monotonic() - began > LONGEST_PAUSE else min(pause * 2, LONGEST_PAUSE)
            await asyncio.sleep(pause)

    async def _watch(self) -> None:
        catching_up = self._tasks.start(self._catch_up(), name="catch up with the engine")
        try:
            async for session in self._engine.watch():
                self._tasks.start(self._end_by_itself(session), name=f"end of {session.id}")
        finally:
            catching_up.cancel()

    async def _catch_up(self) -> None:
        """Find what ended while nobody watched."""
        await asyncio.sleep(SETTLED)
        self._watching = True
        try:
            await self.reconcile()
        except EngineUnavailable as error:
            log.debug("cannot catch up yet", error=str(error))

    async def _end_by_itself(self, ended: Session) -> None:
        death = self._deaths.get(ended.id)
        if death is not None and not death.done():
            death.set_result(ended)
        entry = self._entries.get(ended.id)
        if entry is None or ended.id in self._starting or ended.id in self._unwanted:
            return  # whoever starts or stops it cleans up
        await self._clear_away(ended)

    async def _clear_away(self, ended: Session) -> None:
        """Remove what is left of a session that ended, and tell of it."""
        if ended.id in self._departed or ended.id in self._unwanted:
            return
        entry = self._entries.setdefault(ended.id, _Entry(ended, ready=True))
        entry.session = ended
        try:
            await self.stop(ended.id, ENDED_ITSELF if ended.exit_code == 0 else DIED)
        except EngineUnavailable as error:
            log.warning("an ended session cannot be removed yet", session=ended.id, error=str(error))

    # Reconciling.

    async def reconcile(self) -> Reconciled:
        """Make memory and routes say what the engine says; nothing that runs is ended but what was to be ended before.

        Raises:
            EngineUnavailable: the engine does not answer; everything stays as it is.
        """
        async with self._reconciling:
            self._departed.clear()
            await self._end_unwanted()
            known = {key: Known(entry.session, entry.routed) for key, entry in self._entries.items() if entry.ready}
            routes = await self._routes()
            listed = await self._engine.list()
            # What was started or ended while the lists were read is left for the next time.
            busy = self._starting | self._unwanted.keys() | self._departed | (self._entries.keys() - known.keys())
            self._see(listed)
            mend = compare(listed, routes, known, busy)
            result = await self._mend(mend, len(listed) - len(mend.ended), routes or {})
        if result.changed:
            log.info(
                "reconciled with the engine",
                sessions=result.sessions,
                cut_off_launches=len(result.recovered),
                ended=result.ended,
                routes_added=result.routes_added,
                routes_removed=result.routes_removed,
            )
            _tell(self._reconciled_listeners, result)
        return result

    def _see(self, listed: Sequence[Session]) -> None:
        """Take note of found sessions that run by now: one that the engine had only made has no address yet."""
        for session in listed:
            entry = self._entries.get(session.id)
            if entry is not None and entry.session.state is SessionState.STARTING and entry.ready:
                entry.session = session

    async def _end_unwanted(self) -> None:
        for session_id, reason in list(self._unwanted.items()):
            if not self._turns[session_id].locked():
                await self.stop(session_id, reason)

    async def _routes(self) -> Mapping[str, str] | None:
        try:
            return await self._router.routes()
        except RouterUnavailable as error:
            log.warning("routes stay as they are: the router does not answer", error=str(error), hint=error.hint)
            return None

    async def _mend(self, mend: Mend, running: int, routes: Mapping[str, str]) -> Reconciled:
        for session_id in mend.gone:
            self._forget(session_id, DIED)
        for session in mend.found:
            self._entries[session.id] = _Entry(session, ready=True, found=True, routed=session.id in routes)
        recovered = tuple(session for session in mend.found if session.id not in routes)
        for ended in mend.ended:
            await self._clear_away(ended)
        added = [await self._add_route(route) for route in mend.add]
        for session_id in mend.remove:
            await self._remove_route(session_id)
        added += await asyncio.gather(*(self._route_found(key) for key in self._found_without_route()))
        return Reconciled(
            running, mend.found, recovered, len(mend.ended) + len(mend.gone), sum(added), len(mend.remove)
        )

    def _found_without_route(self) -> list[str]:
        return [key for key, entry in self._entries.items() if entry.found and not entry.routed]

    async def _route_found(self, session_id: str) -> bool:
        """Route a session of an earlier control plane once it answers: its visitor may have its link already."""
        session = self._entries[session_id].session
        if await self._probe.why_not_ready(session):
            if session.state is SessionState.STARTING and self._is_overdue(session):
                await self.stop(session_id, ABANDONED)  # it was made, and whoever made it never told it to run
            return False  # the next time may be better, and a launch that goes on with it waits by itself
        return await self._add_route(Route(session_id, session.address))

    def _is_overdue(self, session: Session) -> bool:
        return self._clock() - session.created_at > self._settings.session.start_timeout

    async def _add_route(self, route: Route) -> bool:
        entry = self._entries.get(route.session_id)
        if entry is None:
            return False
        try:
            await self._router.add(route)
        except RouterUnavailable as error:
            log.warning("a route cannot be added yet", session=route.session_id, error=str(error))
            return False
        entry.session, entry.routed = replace(entry.session, address=route.address), True
        return True

    async def close(self) -> None:
        """Give back connections; sessions go on. Idempotent."""
        await self._probe.close()


T = TypeVar("T")


def _tell(listeners: list[Callable[[T], None]], what: T) -> None:
    for listener in listeners:
        try:
            listener(what)
        except Exception:
            log.exception("listener failed", listener=repr(listener))
