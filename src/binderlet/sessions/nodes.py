"""Pushes quiet sessions out on every node of a cluster: each has a policy of its own, and a helper that does it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping

import structlog

from binderlet.clients.cgroups import Usage
from binderlet.clients.kubernetes_agent import NodeCgroups
from binderlet.clients.memory import Machine
from binderlet.config.schema import HibernateSettings
from binderlet.errors import BinderletError
from binderlet.model import Session
from binderlet.sessions.hibernator import Hibernator, Sight

log = structlog.get_logger(__name__)

FIND_EVERY = 30.0
"""Seconds between looks for helpers that came or went."""

Find = Callable[[], Awaitable[Mapping[str, str]]]
"""Gives the helpers' addresses, ``host:port`` by node."""


class NodesHibernator(Hibernator):
    """A hibernator for many nodes. ``node_of`` gives a session's node, ``find`` the helpers, ``token`` opens them."""

    def __init__(
        self,
        sessions: Callable[[], Mapping[str, Session]],
        last_active: Callable[[], Mapping[str, float]],
        settings: HibernateSettings,
        *,
        node_of: Callable[[str], str],
        find: Find,
        token: str,
        on_look: Callable[[Sight], None] | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        super().__init__(sessions, last_active, settings, on_look=on_look, clock=clock)
        self._node_of = node_of
        self._find = find
        self._token = token
        self._nodes: dict[str, tuple[str, Hibernator]] = {}
        """By name: the helper's address, and what decides for the node."""
        self._found_at = -FIND_EVERY

    @property
    def hibernated(self) -> frozenset[str]:
        """The sessions that are mostly in swap, on all nodes."""
        return frozenset().union(*(one.hibernated for _, one in self._nodes.values()))

    @property
    def computing(self) -> frozenset[str]:
        """The sessions in which something computed between the last two looks."""
        return frozenset().union(*(one.computing for _, one in self._nodes.values()))

    @property
    def off_because(self) -> str:
        """Why nothing is pushed out anywhere; empty while it works on some node."""
        if not self._settings.enabled:
            return "hibernate.enabled is false"
        reasons = [one.off_because for _, one in self._nodes.values()]
        if not reasons:
            return "no node has a helper"
        return "" if "" in reasons else reasons[0]

    async def look(self) -> list[str]:
        """Look once at every node, push out what is to go, and give its sessions."""
        if time.monotonic() - self._found_at >= FIND_EVERY:
            await self._find_nodes()
        chosen = await asyncio.gather(*(self._look_at(node) for node in list(self._nodes)))
        sights = [one.sight for _, one in self._nodes.values()]
        usage: dict[str, Usage] = {}
        for sight in sights:
            usage.update(sight.usage)
        self.sight = Sight(usage, together([sight.machine for sight in sights if sight.machine is not None]))
        if self._on_look is not None:
            self._on_look(self.sight)
        return [session_id for several in chosen for session_id in several]

    async def _look_at(self, node: str) -> list[str]:
        try:
            return await self._nodes[node][1].look()
        except Exception:
            # One node's trouble is not the others'.
            log.exception("looking at a node's memory broke; will try again", node=node)
            return []

    async def _find_nodes(self) -> None:
        self._found_at = time.monotonic()
        try:
            found = await self._find()
        except BinderletError as error:
            log.debug("the nodes' helpers cannot be looked for", error=error.message)
            return
        for node, (address, hibernator) in list(self._nodes.items()):
            if found.get(node) != address:
                hibernator.close()
                del self._nodes[node]
        for node, address in found.items():
            if node not in self._nodes:
                self._nodes[node] = (address, self._hibernator(node, address))

    def _hibernator(self, node: str, address: str) -> Hibernator:
        helper = NodeCgroups(address, self._token)

        def here() -> Mapping[str, Session]:
            return {key: session for key, session in self._sessions().items() if self._node_of(key) == node}

        return Hibernator(
            here, self._last_active, self._settings, cgroups=helper, machine=helper.machine, clock=self._clock
        )

    def close(self) -> None:
        """Begin nothing more. Idempotent."""
        for _, hibernator in self._nodes.values():
            hibernator.close()
        super().close()


def together(machines: list[Machine]) -> Machine | None:
    """Give what several machines have together, and the worst pressure among them; None of none."""
    if not machines:
        return None
    return Machine(
        sum(one.memory for one in machines),
        sum(one.available for one in machines),
        sum(one.swap for one in machines),
        sum(one.swap_free for one in machines),
        max(one.memory_pressure for one in machines),
        max(one.disk_pressure for one in machines),
    )
