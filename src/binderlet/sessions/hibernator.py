"""Pushes quiet sessions out to swap: reads what they use, asks the policy, and does what it says in worker threads."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

import structlog

from binderlet.clients.cgroups import Cgroups, CgroupsUnusable, Usage
from binderlet.clients.memory import Machine, read_machine
from binderlet.config.schema import HibernateSettings
from binderlet.model import Session
from binderlet.sessions.hibernation import Hibernation, Look, is_hibernated

log = structlog.get_logger(__name__)

AT_ONCE = 2
"""Sessions that are pushed out at the same time; a thread is held meanwhile, and the kernel works on its core."""


T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Sight:
    """What was seen at the last look."""

    usage: Mapping[str, Usage]
    """By session id; sessions whose group cannot be read are left out."""
    machine: Machine | None = None


class Hibernator:
    """Looks at memory every ``hibernate.every``.

    ``sessions`` gives those that run, standbys included, and ``last_active`` when each was last used, both from
    memory. ``on_look`` is called with what was seen at each look.
    """

    def __init__(
        self,
        sessions: Callable[[], Mapping[str, Session]],
        last_active: Callable[[], Mapping[str, float]],
        settings: HibernateSettings,
        *,
        cgroups: Cgroups | None = None,
        machine: Callable[[], Machine] = read_machine,
        on_look: Callable[[Sight], None] | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._sessions = sessions
        self._on_look = on_look
        self._last_active = last_active
        self._settings = settings
        self._cgroups = cgroups or Cgroups()
        self._read_machine = machine
        self._clock = clock
        self._policy = Hibernation(settings.after, cores=os.cpu_count() or 1)
        self._threads = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="hibernate")
        self._unusable = ""
        self.sight = Sight({})

    @property
    def hibernated(self) -> frozenset[str]:
        """The sessions that are mostly in swap, as of the last look."""
        return frozenset(session_id for session_id, usage in self.sight.usage.items() if is_hibernated(usage))

    @property
    def computing(self) -> frozenset[str]:
        """The sessions in which something computed between the last two looks."""
        return self._policy.computing

    @property
    def off_because(self) -> str:
        """Why nothing is pushed out, as of the last look; empty while it works."""
        if not self._settings.enabled:
            return "hibernate.enabled is false"
        return self._unusable or self._policy.paused_because

    async def run(self) -> None:
        """Keep going until cancelled; what fails is logged and tried again."""
        while True:
            try:
                await self.look()
            except Exception:
                log.exception("looking at memory broke; will try again")
            await asyncio.sleep(self._settings.every)

    async def look(self) -> list[str]:
        """Look once, push out what is to go, and give its sessions."""
        sessions = dict(self._sessions())
        self.sight = await self._in_thread(self._see, sessions)
        if self._on_look is not None:
            self._on_look(self.sight)
        if self.sight.machine is None:
            return []
        now, active = self._clock(), self._last_active()
        looks = [
            Look(session_id, now - active.get(session_id, _known_since(sessions[session_id], now)), usage)
            for session_id, usage in self.sight.usage.items()
        ]
        chosen = self._policy.decide(looks, self.sight.machine, now)
        if self._unusable or not self._settings.enabled:
            return []
        await asyncio.gather(*(self._push_out(sessions[session_id]) for session_id in chosen))
        return list(chosen)

    def close(self) -> None:
        """Begin nothing more; what is under way ends by itself. Idempotent."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _see(self, sessions: Mapping[str, Session]) -> Sight:
        read = self._cgroups.read(session.engine_id for session in sessions.values())
        usage = {key: read[session.engine_id] for key, session in sessions.items() if session.engine_id in read}
        try:
            return Sight(usage, self._read_machine())
        except (OSError, KeyError, ValueError):
            return Sight(usage)

    async def _push_out(self, session: Session) -> None:
        try:
            result = await self._in_thread(self._reclaim, session)
        except CgroupsUnusable as error:
            if not self._unusable:
                log.warning("sessions keep their memory", why=str(error))
            self._unusable = str(error)
            return
        except OSError as error:
            log.warning("a session's memory cannot be pushed out", session=session.id, error=str(error))
            return
        if result is None:
            return
        before, after, seconds = result
        self._policy.slept(session.id, before, after, seconds, self._clock())
        self.sight = Sight({**self.sight.usage, session.id: after}, self.sight.machine)
        log.debug("session hibernated", session=session.id, before=before.resident, after=after.resident)

    def _reclaim(self, session: Session) -> tuple[Usage, Usage, float] | None:
        before = self._cgroups.read([session.engine_id]).get(session.engine_id)
        began = time.monotonic()
        self._cgroups.reclaim(session.engine_id)
        seconds = time.monotonic() - began
        after = self._cgroups.read([session.engine_id]).get(session.engine_id)
        return None if before is None or after is None else (before, after, seconds)

    async def _in_thread(self, work: Callable[..., T], *arguments: object) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, work, *arguments)


def _known_since(session: Session, now: float) -> float:
    """Give since when a session that has no known use is quiet: nobody has used a standby, others count as used now."""
    return session.created_at if session.standby else now
