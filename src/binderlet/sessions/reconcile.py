"""What to mend so that memory and routes say what the engine says. Pure: three lists come in, a plan goes out.

Nothing here ends a session that runs: what nobody knows is taken in.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from binderlet.model import Route, Session, SessionState


@dataclass(frozen=True, slots=True)
class Known:
    """What memory says of one session."""

    session: Session
    routed: bool
    """Whether visitors are to reach it."""


@dataclass(frozen=True, slots=True)
class Mend:
    """What to do."""

    ended: tuple[Session, ...] = ()
    """Containers that ended and are still there: to be removed."""
    gone: tuple[str, ...] = ()
    """Sessions that memory has and the engine has not: to be forgotten."""
    found: tuple[Session, ...] = ()
    """Sessions that run and that memory has not: to be taken in."""
    add: tuple[Route, ...] = ()
    remove: tuple[str, ...] = ()
    """Routes that lead nowhere."""


@dataclass(frozen=True, slots=True)
class Reconciled:
    """What reconciling found and did."""

    sessions: int
    """Sessions that run."""
    found: tuple[Session, ...] = ()
    """Sessions of an earlier control plane, taken in."""
    recovered: tuple[Session, ...] = ()
    """Those of them without a route: their launches were cut off before visitors were told."""
    ended: int = 0
    routes_added: int = 0
    routes_removed: int = 0

    @property
    def changed(self) -> bool:
        """Whether anything was not as it should be."""
        return bool(self.found or self.ended or self.routes_added or self.routes_removed)


def compare(
    listed: Sequence[Session],
    routes: Mapping[str, str] | None,
    known: Mapping[str, Known],
    busy: AbstractSet[str] = frozenset(),
) -> Mend:
    """Compare the engine's list, which was read last, with routes and memory, which were read before it.

    ``routes`` is None where the router does not answer: routes stay as they are. Sessions that are ``busy``, being
    started or stopped right now, are somebody else's to look after.
    """
    ours = [session for session in listed if session.id not in busy]
    live = {session.id: session for session in ours if session.state is not SessionState.ENDED}
    return Mend(
        ended=tuple(session for session in ours if session.state is SessionState.ENDED),
        gone=tuple(sorted(known.keys() - {session.id for session in listed} - busy)),
        found=tuple(session for session in live.values() if session.id not in known),
        add=() if routes is None else _missing(live, routes, known),
        remove=() if routes is None else tuple(sorted(routes.keys() - live.keys() - busy)),
    )


def _missing(live: Mapping[str, Session], routes: Mapping[str, str], known: Mapping[str, Known]) -> tuple[Route, ...]:
    """Give the routes that should be there: a session that moved, or one that had a route and lost it."""
    return tuple(
        Route(session.id, session.address)
        for session in live.values()
        if session.address
        and routes.get(session.id) != session.address
        and (session.id in routes or (session.id in known and known[session.id].routed))
    )
