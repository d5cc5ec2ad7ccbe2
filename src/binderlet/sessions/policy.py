"""Which sessions end now, and why. Pure: sessions, activity and the time come in, decisions go out.

Rule 1: a session older than ``cull.max_age`` ends, whatever it does.
Rule 2: a session that nobody used for ``cull.idle`` ends.
Rule 3: the times of a repository that ``cull.overrides`` names come from there, and nothing ends before the time that
an operator gave it.
Rule 4: what cannot be judged stays: a session whose last use is unknown, and all of them while the router is silent.
"""

from __future__ import annotations

import re
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
    sessions: Iterable[Session],
    last_active: Mapping[str, float] | None,
    now: float,
    settings: CullSettings,
    extended: Mapping[str, float] | None = None,
) -> list[Cull]:
    """Give the sessions to end; ``last_active`` is None while the router cannot be asked.

    ``extended`` has the times before which sessions stay, in seconds since the epoch.
    """
    culls = []
    for session in sessions:
        if session.state is SessionState.ENDED or (extended or {}).get(session.id, 0.0) > now:
            continue  # reconciling cleans up after those that ended
        times = times_of(session, settings)
        if now - session.created_at >= times.max_age:
            culls.append(Cull(session.id, TOO_OLD))
        elif last_active is not None and now - last_active.get(session.id, now) >= times.idle:
            culls.append(Cull(session.id, IDLE))
    return culls


@dataclass(frozen=True, slots=True)
class Outlook:
    """When one session ends if nobody uses it."""

    ends_at: float
    """Seconds since the epoch."""
    reason: str
    lasts: float
    """How long a session may go on in that respect, in seconds."""


def outlook(session: Session, last_active: float, settings: CullSettings, extended: float = 0.0) -> Outlook:
    """Give when ``decide`` will end a session that was used at ``last_active`` and is not used again."""
    times = times_of(session, settings)
    too_old = session.created_at + times.max_age
    ends_at = max(min(too_old, last_active + times.idle), extended)
    return Outlook(ends_at, TOO_OLD, times.max_age) if ends_at >= too_old else Outlook(ends_at, IDLE, times.idle)


@dataclass(frozen=True, slots=True)
class Times:
    """When a session ends, in seconds."""

    idle: float
    max_age: float


def times_of(session: Session, settings: CullSettings) -> Times:
    """Give the times of a session: those of the first override that matches, else those of all."""
    name = f"{session.provider}/{session.spec}"
    for override in settings.overrides:
        if re.match(override.pattern, name, re.IGNORECASE):
            return Times(override.idle or settings.idle, override.max_age or settings.max_age)
    return Times(settings.idle, settings.max_age)
