"""Which sessions end now, and why. Pure: sessions, activity and the time come in, decisions go out.

Rule 1: a session older than ``cull.max_age`` ends, whatever it does.
Rule 2: a session that nobody used for ``cull.idle`` ends.
Rule 3: what cannot be judged stays: a session whose last use is unknown, and all of them while the router is silent.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from binderlet.config.schema import CullSettings
from binderlet.model import Session, SessionState

IDLE = "culled: idle"
TOO_OLD = "culled: age"


@dataclass(frozen=True, slots=True)
class Cull:
    """One session that is to end."""

    session_id: str
    reason: str


def decide(
    sessions: Iterable[Session], last_active: Mapping[str, float] | None, now: float, settings: CullSettings
) -> list[Cull]:
    """Give the sessions to end; ``last_active`` is None while the router cannot be asked."""
    culls = []
    for session in sessions:
        if session.state is SessionState.ENDED:
            continue  # reconciling cleans up after it
        if now - session.created_at >= settings.max_age:
            culls.append(Cull(session.id, TOO_OLD))
        elif last_active is not None and now - last_active.get(session.id, now) >= settings.idle:
            culls.append(Cull(session.id, IDLE))
    return culls
