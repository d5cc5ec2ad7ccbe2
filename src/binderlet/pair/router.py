"""The data path as the leader of a pair sees it: its own HAProxy, and what the others' counted."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Protocol

from binderlet.model import Route, Traffic
from binderlet.pair.peers import Peers
from binderlet.router.base import Router
from binderlet.router.traffic import Tally


class Announced(Protocol):
    """Knows which sessions visitors were led to."""

    @property
    def announced(self) -> Collection[str]:
        """Their ids."""


class PairRouter:
    """A ``Router`` around one; the others' HAProxies have the same routes by themselves.

    ``cut_off`` are the sessions whose launches an earlier leader may not have finished: their routes are there, but are
    not shown until they are added, so that these launches are gone on with.
    """

    def __init__(self, inner: Router, peers: Peers, cut_off: Collection[str] = ()) -> None:
        self._inner = inner
        self._peers = peers
        self._cut_off = set(cut_off)
        self._announced: set[str] = set()
        self._tally = Tally()

    @property
    def announced(self) -> Collection[str]:
        """The sessions that visitors were led to."""
        return self._announced

    async def prepare(self) -> None:
        """See ``Router``."""
        await self._inner.prepare()

    async def add(self, route: Route) -> None:
        """See ``Router``."""
        await self._inner.add(route)
        self._cut_off.discard(route.session_id)
        self._announced.add(route.session_id)

    async def remove(self, session_id: str) -> None:
        """See ``Router``."""
        self._announced.discard(session_id)
        self._cut_off.discard(session_id)
        self._tally.forget(session_id)
        await self._inner.remove(session_id)

    async def routes(self) -> Mapping[str, str]:
        """Give the routes, but those of launches that are to be gone on with."""
        shown = {key: value for key, value in (await self._inner.routes()).items() if key not in self._cut_off}
        self._announced |= shown.keys()
        return shown

    async def traffic(self) -> Mapping[str, Traffic]:
        """Add up what all HAProxies counted.

        Raises:
            RouterUnavailable: one of them does not say.
        """
        own = await self._inner.traffic()
        return self._tally.count({"": own, **await self._peers.traffic()})

    async def ping(self) -> str:
        """See ``Router``."""
        return await self._inner.ping()

    async def close(self) -> None:
        """See ``Router``."""
        await self._inner.close()

    async def shutdown(self) -> None:
        """See ``Router``."""
        await self._inner.shutdown()
