"""The standbys that run: started when there is room, adopted once, replaced when they are old or not wanted.

``standby.plan`` decides; this does it. What runs is read from the engine's labels; a session with the label of a
standby is one until a launch has adopted it, which ``adoptions`` keeps.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import structlog

from binderlet.config.schema import Settings
from binderlet.engine.base import Engine
from binderlet.errors import BinderletError, EngineUnavailable
from binderlet.model import Session, SessionState
from binderlet.sessions.adoptions import Adoption, AdoptionFiles
from binderlet.sessions.command import session_spec, standby_key
from binderlet.sessions.demand import Demands
from binderlet.sessions.ids import new_launch_id
from binderlet.sessions.machine import read_machine
from binderlet.sessions.order import SessionOrder
from binderlet.sessions.probe import Probe
from binderlet.sessions.ready import until_ready
from binderlet.sessions.reservations import Prepare, Reservations
from binderlet.sessions.standby import NO_ROOM, Crowd, Machine, Plan, Reservation, Spare, first_to_go, plan
from binderlet.sessions.visitors import VisitorsEngine
from binderlet.tasks import Tasks

log = structlog.get_logger(__name__)

LOOK_EVERY = 2.0
"""Seconds between looks at what is wanted."""
LOOK_IDLE = 60.0
"""The same while nothing is."""
ANSWER_WITHIN = 1.5
"""Seconds that a standby may take to answer before its adoption: a new session takes about as long to start."""
ImageId = Callable[[str], Awaitable[str | None]]
"""Gives what an image's name leads to now: its content id, empty where that is not known; None where it is gone."""
IMAGES_EVERY = 30.0
"""Seconds between looks at whether images were made again."""
PATIENCE = 0.5
"""Seconds after which no other standby is tried."""


@dataclass(slots=True)
class _Standby:
    """One standby in memory, from before its container exists until it is adopted or gone."""

    id: str
    key: str
    created_at: float
    session: Session | None = None
    ready: bool = False
    work: asyncio.Task[None] | None = None
    """What starts it, or waits until it answers."""


class Pool:
    """Starts standbys and hands them out. ``engine`` is what everything else uses instead of the engine given.

    ``crowd`` tells what real launches take; ``prepare`` gets a reservation's image ready; ``image_id`` finds an image.
    """

    def __init__(
        self,
        engine: Engine,
        settings: Settings,
        tasks: Tasks,
        *,
        state: Path,
        crowd: Callable[[], Crowd],
        prepare: Prepare,
        image_id: ImageId | None = None,
        environment: Mapping[str, str] | None = None,
        machine: Callable[[], Machine] = read_machine,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.engine = VisitorsEngine(engine, self)
        self._image_id, self._images_at = image_id, -math.inf
        self._engine = engine
        self._settings = settings
        self._tasks = tasks
        self._crowd = crowd
        self._environment = dict(environment or {})
        self._machine = machine
        self._clock = clock
        self._probe = Probe(timeout=ANSWER_WITHIN)
        self._files = AdoptionFiles(state / "standby" / "adopted")
        self._adopted: dict[str, Adoption] = {}
        self._standbys: dict[str, _Standby] = {}
        self._adopting: set[str] = set()
        self._deaths: dict[str, asyncio.Future[Session]] = {}
        self._ending: set[str] = set()
        self._departed: set[str] = set()
        self._listed_before: frozenset[str] = frozenset()
        self._demands = Demands(settings.standby, self._key)
        self._changed = asyncio.Event()
        self._last_start = -math.inf
        self.reservations = Reservations(
            self._demands,
            settings.standby,
            tasks,
            prepare=prepare,
            file=state / "standby" / "demand.json",
            wake=self._changed.set,
            clock=clock,
        )

    def _key(self, order: SessionOrder) -> str:
        return standby_key(order, self._settings, self._environment)

    # What there is.

    def reserved(self) -> Sequence[tuple[Reservation, int]]:
        """Give the reservations that have not ended, each with how many standbys are ready for it."""
        return self.reservations.with_ready(Counter(one.key for one in self._standbys.values() if one.ready))

    def waiting(self) -> Mapping[str, Session]:
        """Give the standbys that have answered and wait for a launch, by id: nobody uses them yet."""
        return {key: one.session for key, one in self._standbys.items() if one.ready and one.session is not None}

    # For launches.

    async def take(self, order: SessionOrder) -> Session | None:
        """Give a standby to a launch, if there is one that answers: its session from now on, and nobody else's.

        Each call also counts as a launch, for what is started ahead later.
        """
        self._demands.note(order, self._clock())
        self._changed.set()
        key, began = self._key(order), time.monotonic()
        while time.monotonic() - began < PATIENCE and (standby := self._pop(key)) is not None:
            session = None
            try:
                session = await self._adopt(standby, order)
            finally:
                self._adopting.discard(standby.id)
                if session is None:
                    self._discard(standby, "it was to be adopted, but did not answer")
            if session is not None:
                log.info("standby adopted", session=session.id, launch=order.launch_id[:8])
                return session
        return None

    def _pop(self, key: str) -> Session | None:
        """Take the oldest standby of a key out of the pool; None where there is none."""
        usable = [one for one in self._standbys.values() if one.key == key and one.ready]
        if not usable:
            return None
        chosen = min(usable, key=lambda one: one.created_at)
        del self._standbys[chosen.id]
        self._adopting.add(chosen.id)
        return chosen.session

    async def _adopt(self, standby: Session, order: SessionOrder) -> Session | None:
        why_not = await self._probe.why_not_ready(standby)
        if why_not:
            log.warning("a standby is not handed out", session=standby.id, because=why_not)
            return None
        adoption = Adoption(order.launch_id, self._clock())
        try:
            await asyncio.to_thread(self._files.save, standby.id, adoption)
        except OSError as error:
            log.warning("a standby cannot be adopted: its launch cannot be kept", error=str(error))
            return None
        if standby.id not in self._adopting:
            await asyncio.to_thread(self._files.remove, standby.id)
            return None  # it ended meanwhile
        self._adopted[standby.id] = adoption
        return adoption.of(standby)

    async def make_room(self) -> None:
        """End standbys where a launch needs their place; returns once they are gone."""
        crowd = self._crowd()
        over = crowd.taken + len(self._standbys) - crowd.places
        if over > 0:
            demands, _ = self._demands.current(self._clock())
            leaving = first_to_go(self._spares(), demands)[:over]
            await self._end_all({spare.session_id: NO_ROOM for spare in leaving})

    # For the engine's view.

    def before_list(self) -> None:
        """Remember who is here: of these, whoever is not listed is gone."""
        self._departed.clear()
        here = (key for key, standby in self._standbys.items() if standby.session is not None)
        self._listed_before = frozenset(here) | self._adopted.keys()

    def sort_out(self, listed: Sequence[Session]) -> Sequence[Session]:
        """Take in the standbys that are listed, and give all other sessions, adopted ones among them."""
        for session_id in self._listed_before - {session.id for session in listed}:
            self._drop(session_id)
        return [visible for session in listed if (visible := self._visible(session)) is not None]

    def _visible(self, session: Session) -> Session | None:
        if not session.standby:
            return session
        if session.id in self._adopted:
            return self._adopted[session.id].of(session)
        if session.state is SessionState.ENDED:
            self._has_ended(session)
        elif session.id not in self._standbys.keys() | self._adopting | self._ending | self._departed:
            self._take_in(session)
        return None

    def _take_in(self, session: Session) -> None:
        """Put a standby of an earlier control plane into the pool as soon as it answers."""
        standby = _Standby(session.id, session.standby, session.created_at, session)
        self._standbys[session.id] = standby
        standby.work = self._tasks.start(self._until_ready(standby, session), name=f"find {session.id}")

    def ended(self, session: Session) -> Session | None:
        """Take in that a session ended; give it where somebody uses it."""
        if not session.standby:
            return session
        if session.id in self._adopted:
            return self._adopted[session.id].of(session)
        self._has_ended(session)
        return None

    def _has_ended(self, session: Session) -> None:
        self._adopting.discard(session.id)  # whoever adopts it finds that out, and cleans up
        death = self._deaths.get(session.id)
        if death is not None and not death.done():
            death.set_result(session)  # whoever waits for its answer cleans up
        elif session.id not in self._ending | self._departed:
            if (standby := self._standbys.get(session.id)) is not None:
                self._demands.forget(standby.key, f"A standby ended: {session.ended_because}.")
            self._discard(session, session.ended_because)

    async def forget(self, session_id: str) -> None:
        """Forget an adoption whose session is gone."""
        if self._adopted.pop(session_id, None) is not None:
            await asyncio.to_thread(self._files.remove, session_id)

    def _drop(self, session_id: str) -> None:
        """Forget what the engine has no longer."""
        if session_id in self._adopted:
            self._tasks.start(self.forget(session_id), name=f"forget {session_id}")
        elif session_id in self._standbys:
            self._tasks.start(self._end(session_id, "it is gone"), name=f"forget {session_id}")

    # Looking after them.

    async def load(self) -> None:
        """Read what an earlier control plane knew; before the engine's first list."""
        self._adopted = await asyncio.to_thread(self._files.load)
        await self.reservations.load()

    async def run(self) -> None:
        """Look again and again, until cancelled; what fails is logged and tried again."""
        while True:
            try:
                await self.look()
            except BinderletError as error:
                log.warning("standbys stay as they are", error=str(error), hint=error.hint)
            except Exception:
                log.exception("looking after standbys broke; will try again")
            self._changed.clear()
            await asyncio.sleep(LOOK_EVERY)
            if not self._standbys:
                await self._something_to_do()

    async def _something_to_do(self) -> None:
        """Sleep on while nothing was launched, is usual at this hour or is reserved."""
        demands, _ = self._demands.current(self._clock())
        if not demands and not self.reservations.all:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LOOK_IDLE):
                    await self._changed.wait()

    async def look(self) -> Plan:
        """Compare what is wanted with what is there: end what is to end, start at most one, and give the plan.

        Raises:
            EngineUnavailable: the engine does not answer.
        """
        now, settings = self._clock(), self._settings.standby
        if self._image_id is not None and now - self._images_at >= IMAGES_EVERY:
            self._images_at = now
            await self._follow_images(self._image_id, now)
        demands, orders = self._demands.current(now)
        machine = await asyncio.to_thread(self._machine)
        made = plan(demands, self._spares(), self._crowd(), machine, settings, now=now, last_start=self._last_start)
        if made.start:
            self._last_start = now
            self._start(orders[made.start], made.start, now)
        await self._end_all(made.end)
        await self.reservations.look(now)
        return made

    async def _follow_images(self, find: ImageId, now: float) -> None:
        """Plan for the images that are here now: one that was made again is another one."""
        for key, order in self._demands.current(now)[1].items():
            found = await find(order.image)
            if found is None:
                self._demands.forget(key, f"The image {order.image} is gone.")
            elif found and found != order.image_id:
                self._demands.renew(key, found)

    def _spares(self) -> list[Spare]:
        return [Spare(one.id, one.key, one.created_at, one.ready) for one in self._standbys.values()]

    def _start(self, order: SessionOrder, key: str, now: float) -> None:
        order = replace(order, launch_id=new_launch_id())
        spec = session_spec(order, self._settings, now=now, environment=self._environment, standby=key)
        standby = self._standbys[spec.id] = _Standby(spec.id, key, now)

        async def start() -> None:
            try:
                standby.session = await self._engine.start(spec)
            except EngineUnavailable as error:
                log.warning("a standby cannot be started now", error=str(error))
                self._standbys.pop(spec.id, None)
            except BinderletError as error:
                self._standbys.pop(spec.id, None)
                self._give_up(key, error)
            else:
                await self._until_ready(standby, standby.session)

        standby.work = self._tasks.start(start(), name=f"start standby {spec.id}")

    async def _until_ready(self, standby: _Standby, session: Session) -> None:
        """Wait until a standby answers; one that does not is ended, and none like it is started again for now."""
        death = self._deaths[session.id] = asyncio.get_running_loop().create_future()
        timeout = self._settings.session.start_timeout
        try:
            await until_ready(session, death, self._engine, self._probe, timeout=timeout, is_watched=lambda: False)
            standby.ready = True
            log.info("standby ready", session=session.id, image=session.image)
        except BinderletError as error:
            self._give_up(standby.key, error)
            self._discard(session, error.message)
        finally:
            self._deaths.pop(session.id, None)

    def _give_up(self, key: str, error: BinderletError) -> None:
        log.warning("no standbys of an image that does not start", error=error.message)
        self._demands.forget(key, error.message)

    def _discard(self, session: Session, because: str) -> None:
        """End a standby in the background."""
        self._standbys.pop(session.id, None)
        self._ending.add(session.id)
        self._tasks.start(self._end(session.id, because), name=f"end standby {session.id}")

    async def _end_all(self, ends: Mapping[str, str]) -> None:
        await asyncio.gather(*(self._end(session_id, because) for session_id, because in ends.items()))

    async def _end(self, session_id: str, because: str) -> None:
        """End a standby; where the engine does not answer, its next list brings it back."""
        standby = self._standbys.pop(session_id, None)
        self._ending.add(session_id)
        try:
            if standby is not None and standby.work is not None and not standby.work.done():
                standby.work.cancel()
                await asyncio.wait([standby.work])
            log.info("standby ended", session=session_id, because=because)
            await self._engine.stop(session_id)
            self._departed.add(session_id)
        except EngineUnavailable as error:
            log.warning("a standby cannot be ended now", session=session_id, error=str(error))
        finally:
            self._ending.discard(session_id)

    # The end.

    async def end(self) -> None:
        """End every standby; what cannot be ended is logged."""
        await self._end_all(dict.fromkeys(self._standbys, "the service was stopped"))

    async def close(self) -> None:
        """Keep what was launched lately, and give back connections; standbys go on. Idempotent."""
        await self.reservations.save()
        await self._probe.close()
