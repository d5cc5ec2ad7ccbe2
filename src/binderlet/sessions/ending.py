"""Tells a session's visitors when it will end, or why it did. From memory, and without any I/O."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from binderlet.events.kinds import Fact, SessionEnded
from binderlet.model import Session
from binderlet.sessions.policy import IDLE, TOO_OLD, Outlook

REMEMBERED = 2000
"""Ended sessions of which the reason is kept; the oldest are forgotten first."""
SHARE = 4
"""A warning comes in the last quarter of a session's time at the earliest."""
CALM, SOON, LEAST = 60.0, 15.0, 1.0
"""Seconds after which an open page asks again: while all is well, while it warns, and at least."""
WORDS = {
    IDLE: "nobody used it for a while",
    TOO_OLD: "it had run for as long as sessions may",
    "stopped": "it was shut down",
    "stopped by the operator": "an operator of this service ended it",
    "service stopped": "this service was stopped",
}
"""What is told of an end, as the end of a sentence; of a session that died, the engine knows why."""


@dataclass(frozen=True, slots=True)
class SessionEnd:
    """What may be told of the end of one session to whoever has its address."""

    because: str
    """``idle`` or ``age``; once it has ended, why, as the end of a sentence."""
    launch: str
    """The path that launches the same again."""
    ends_in: float | None = None
    """Seconds; None once it has ended."""
    warn: bool = False
    """Whether that is so soon that its visitor should know."""
    ask_again: float = CALM
    """Seconds after which this may have changed."""
    seen: float = 0.0
    """Seconds since anybody looked at who uses what: a later use is not in this."""


class Endings:
    """Knows the outlook of each session that runs, and remembers why others ended; ``tell`` listens to the bus."""

    def __init__(
        self,
        running: Callable[[], Mapping[str, Session]],
        outlook: Callable[[Session], Outlook],
        looked_at: Callable[[], float],
        *,
        warning: float,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._running = running
        self._outlook = outlook
        self._looked_at = looked_at
        self._warning = warning
        self._clock = clock
        self._ended: OrderedDict[str, SessionEnd] = OrderedDict()

    def tell(self, fact: Fact) -> None:
        """Remember why a session ended."""
        if isinstance(fact, SessionEnded):
            because = WORDS.get(fact.reason) or fact.session.ended_because or "it ended"
            self._ended[fact.session.id] = SessionEnd(because, launch_path(fact.session))
            if len(self._ended) > REMEMBERED:
                self._ended.popitem(last=False)

    def of(self, session_id: str) -> SessionEnd | None:
        """Give what is known of the end of a session; None for one that never was, or is forgotten."""
        session = self._running().get(session_id)
        if session is None:
            return self._ended.get(session_id)
        now, expected = self._clock(), self._outlook(session)
        ends_in = max(0.0, expected.ends_at - now)
        warning = min(self._warning, expected.lasts / SHARE)
        warn = ends_in < warning
        wait = min(SOON, ends_in) if warn else min(CALM, ends_in - warning)
        return SessionEnd(
            "age" if expected.reason == TOO_OLD else "idle",
            launch_path(session),
            ends_in,
            warn,
            max(LEAST, wait),
            max(0.0, now - self._looked_at()),
        )


def launch_path(session: Session) -> str:
    """Give the path that launches the same again."""
    return f"/v2/{session.provider}/{session.spec}"
