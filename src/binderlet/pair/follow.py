"""What one that does not lead knows: which sessions visitors reach here, and what the leader told it. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from binderlet.model import Route, Session, SessionState
from binderlet.router.route_file import check_route


@dataclass(frozen=True, slots=True)
class Change:
    """What to do so that routes lead where sessions are."""

    add: tuple[Route, ...] = ()
    remove: tuple[str, ...] = ()


def routes_of(sessions: Iterable[Session]) -> dict[str, str]:
    """Give the route of each session that runs; one that HAProxy cannot lead to is left out."""
    running = (session for session in sessions if session.state is SessionState.RUNNING)
    return {session.id: session.address for session in running if _can_be_led_to(session)}


def _can_be_led_to(session: Session) -> bool:
    try:
        check_route(session.id, session.address)
    except ValueError:
        return False
    return True


def compare(have: Mapping[str, str], wanted: Mapping[str, str]) -> Change:
    """Give what is to be changed, in an order of its own."""
    add = [Route(key, address) for key, address in wanted.items() if have.get(key) != address]
    return Change(tuple(sorted(add, key=lambda route: route.session_id)), tuple(sorted(have.keys() - wanted.keys())))


def not_announced(
    sessions: Iterable[Session], announced: Collection[str], now: float, start_timeout: float
) -> set[str]:
    """Give the ids of sessions whose launch the earlier leader may not have finished.

    ``announced`` are those that it had led visitors to, as it said last. One that was started long ago was announced,
    or is nobody's; to announce one again does no harm.
    """
    return {
        session.id
        for session in sessions
        if session.id not in announced and not session.standby and now - session.created_at < start_timeout
    }
