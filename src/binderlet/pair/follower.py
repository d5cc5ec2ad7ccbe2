"""What one does that does not lead: its HAProxy leads visitors to all sessions, and everybody else to the leader."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from pathlib import Path

import structlog

from binderlet.engine.kubernetes_pods import PodMirror
from binderlet.errors import BinderletError, RouterUnavailable
from binderlet.model import Session
from binderlet.pair.door import write_files
from binderlet.pair.follow import compare, routes_of
from binderlet.pair.peers import Peers
from binderlet.router.config import LEADER, SYNCED
from binderlet.router.haproxy import HAProxyRouter

log = structlog.get_logger(__name__)

AT_LATEST = 5.0
"""Seconds after which routes are compared anew, changed or not."""
GATHER = 0.05
"""Seconds in which changes are gathered."""
AGAIN = 1.0
"""Seconds until what failed is tried again."""
ASK_EVERY = 2.0
"""Seconds between two questions to the leader."""


class Follower:
    """Runs until it is cancelled; then ``sessions`` and ``announced`` say how things were left.

    ``leader`` gives the address of who leads, empty where nobody is known; ``news`` is set when that may have changed.
    """

    def __init__(
        self,
        mirror: PodMirror,
        router: HAProxyRouter,
        peers: Peers,
        state: Path,
        *,
        leader: Callable[[], str],
        news: asyncio.Event,
    ) -> None:
        self._mirror = mirror
        self._router = router
        self._peers = peers
        self._state = state
        self._leader = leader
        self._news = news
        self._led_to: str | None = None
        self.announced: frozenset[str] = frozenset()
        """The sessions that the leader had led visitors to, as it said last."""
        self.ready = asyncio.Event()
        """Set once visitors reach every session here."""

    @property
    def sessions(self) -> list[Session]:
        """All sessions, as far as is known."""
        return [pod.session for pod in self._mirror.pods.values()]

    async def run(self) -> None:
        """Keep routes true, point to the leader and learn from it."""
        await asyncio.gather(
            self._repeat("following sessions", self._follow_sessions),
            self._repeat("pointing to the leader", self._point),
            self._repeat("learning from the leader", self._learn),
        )

    async def _repeat(self, what: str, work: Callable[[], Awaitable[None]]) -> None:
        while True:
            try:
                await work()
                continue
            except RouterUnavailable as error:
                log.warning("failed; will try again", work=what, error=error.message, hint=error.hint)
                await self._mend()
            except BinderletError as error:
                log.warning("failed; will try again", work=what, error=error.message, hint=error.hint)
            except Exception:
                log.exception("broke; will try again", work=what)
            await asyncio.sleep(AGAIN)

    async def _mend(self) -> None:
        try:
            await self._router.prepare()
        except BinderletError as error:
            log.warning("HAProxy is away", error=error.message, hint=error.hint)

    async def _follow_sessions(self) -> None:
        await self._mirror.synced()
        self._mirror.any_change.clear()
        change = compare(await self._router.routes(), routes_of(self.sessions))
        await asyncio.gather(*map(self._router.add, change.add), *map(self._router.remove, change.remove))
        if not self.ready.is_set():
            await self._router.note(SYNCED, "yes")
            self.ready.set()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(AT_LATEST):
                await self._mirror.any_change.wait()
        await asyncio.sleep(GATHER)

    async def _point(self) -> None:
        self._news.clear()
        address = self._leader()
        if address != self._led_to:
            await self._router.note(LEADER, address)
            self._led_to = address
            log.info("visitors are led to the leader", leader=address or "nobody")
        await self._news.wait()

    async def _learn(self) -> None:
        if leader := self._leader():
            try:
                if (told := await self._peers.told(leader)) is not None:
                    self.announced = await asyncio.to_thread(write_files, self._state, told)
            except (BinderletError, OSError, LookupError) as error:
                log.debug("nothing was learnt from the leader", leader=leader, error=str(error))
        await asyncio.sleep(ASK_EVERY)
