"""What is told of a session's end, before and after it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from binderlet.events.kinds import SessionEnded
from binderlet.model import Session
from binderlet.sessions import ending
from binderlet.sessions.ending import CALM, LEAST, SOON, Endings, SessionEnd
from binderlet.sessions.policy import IDLE, TOO_OLD, Outlook
from support.values import SESSION

NOW = 1000.0
LAUNCH = f"/v2/{SESSION.provider}/{SESSION.spec}"


class Play:
    """One session with an outlook that a test sets."""

    def __init__(self, warning: float = 300.0) -> None:
        self.running: dict[str, Session] = {SESSION.id: SESSION}
        self.seen = Outlook(NOW + 600, IDLE, 600)
        self.endings = Endings(
            lambda: self.running, lambda _: self.seen, lambda: NOW - 3, warning=warning, clock=lambda: NOW
        )

    def end(self, session: Session, reason: str) -> SessionEnd | None:
        """End a session and give what is told of it."""
        self.running.pop(session.id, None)
        self.endings.tell(SessionEnded(session, NOW, reason))
        return self.endings.of(session.id)


@pytest.mark.parametrize(
    ("warning", "seen", "expected"),
    [
        (300, Outlook(NOW + 600, IDLE, 600), ("idle", 600, False, CALM)),
        (300, Outlook(NOW + 160, IDLE, 600), ("idle", 160, False, 10)),  # in ten seconds it warns
        (300, Outlook(NOW + 149, IDLE, 600), ("idle", 149, True, SOON)),
        (300, Outlook(NOW + 299, TOO_OLD, 21600), ("age", 299, True, SOON)),
        (300, Outlook(NOW + 301, TOO_OLD, 21600), ("age", 301, False, LEAST)),
        (300, Outlook(NOW - 5, IDLE, 600), ("idle", 0, True, LEAST)),  # the next look ends it
        (0, Outlook(NOW + 1, IDLE, 600), ("idle", 1, False, LEAST)),  # no warnings wanted
    ],
)
def test_a_session_that_runs(warning: float, seen: Outlook, expected: tuple[str, float, bool, float]) -> None:
    """The warning comes in time but not for most of its life, and the page is told when to ask again."""
    play = Play(warning)
    play.seen = seen
    because, ends_in, warn, again = expected
    assert play.endings.of(SESSION.id) == SessionEnd(because, LAUNCH, ends_in, warn, again, 3)


@pytest.mark.parametrize(
    ("reason", "engine", "told"),
    [
        (IDLE, "", "nobody used it for a while"),
        (TOO_OLD, "", "it had run for as long as sessions may"),
        ("stopped by the operator", "", "an operator of this service ended it"),
        ("died", "it ran out of memory", "it ran out of memory"),
        ("something else", "", "it ended"),
    ],
)
def test_a_session_that_ended(reason: str, engine: str, told: str) -> None:
    """Why, in words, and how to launch it again."""
    assert Play().end(replace(SESSION, ended_because=engine), reason) == SessionEnd(told, LAUNCH)


def test_only_so_many_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of others nothing is known, as of those that never were."""
    monkeypatch.setattr(ending, "REMEMBERED", 2)
    play = Play()
    for name in "abc":
        play.end(replace(SESSION, id=name), IDLE)
    assert [play.endings.of(name) is None for name in "abcx"] == [True, False, False, True]
    play.endings.tell(object())  # type: ignore[arg-type] # any other fact
