"""Who is culled, as a table."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from binderlet.config.schema import CullOverride, CullSettings
from binderlet.model import Session, SessionState
from binderlet.sessions.policy import IDLE, TOO_OLD, Cull, Outlook, Times, decide, outlook, times_of
from support.values import SESSION

SETTINGS = CullSettings(idle=600, max_age=21600)
NOW = 100_000.0
YOUNG = replace(SESSION, id="young", created_at=NOW - 3600)
OLD = replace(SESSION, id="old", created_at=NOW - 21600)


@pytest.mark.parametrize(
    ("session", "last_active", "reason"),
    [
        (YOUNG, {"young": NOW - 599.9}, None),
        (YOUNG, {"young": NOW - 600}, IDLE),
        (YOUNG, {}, None),  # not judged yet, as after a restart: counts as active now
        (YOUNG, None, None),  # the router is silent: nobody is idle
        (OLD, {"old": NOW}, TOO_OLD),  # however busy
        (OLD, {"old": NOW - 9999}, TOO_OLD),
        (OLD, None, TOO_OLD),  # age needs no router
        (replace(OLD, created_at=NOW - 21599), {}, None),
        (replace(OLD, state=SessionState.ENDED), None, None),  # reconciling removes it
        (replace(YOUNG, state=SessionState.STARTING), {"young": NOW - 600}, IDLE),  # a start that was cut off
        (replace(YOUNG, created_at=NOW + 500), {"young": NOW + 500}, None),  # the clock was set back
    ],
)
def test_a_session_ends_for_idleness_or_age(
    session: Session, last_active: dict[str, float] | None, reason: str | None
) -> None:
    """Idle time counts from the last use, age from the creation, and what is unknown ends nobody."""
    expected = [Cull(session.id, reason)] if reason else []
    assert decide([session], last_active, NOW, SETTINGS) == expected


def test_each_session_is_judged_by_itself() -> None:
    """One idle session among others ends alone, in the order of the list."""
    sessions = [YOUNG, OLD, replace(YOUNG, id="third")]
    last_active = {"young": NOW - 700, "third": NOW}
    assert decide(sessions, last_active, NOW, SETTINGS) == [Cull("young", IDLE), Cull("old", TOO_OLD)]


@given(st.dictionaries(st.sampled_from(["a", "b", "c"]), st.floats(0, 2 * NOW)), st.floats(0, 21599))
def test_nobody_used_within_the_idle_time_is_ended(last_active: dict[str, float], age: float) -> None:
    """Whatever the numbers, a young session that was used a moment ago or is unknown stays."""
    sessions = [replace(SESSION, id=name, created_at=NOW - age) for name in "abc"]
    ended = {cull.session_id for cull in decide(sessions, last_active, NOW, SETTINGS)}
    assert ended == {name for name, at in last_active.items() if NOW - at >= 600}


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ("Teacher/course/HEAD", Times(3600, 21600)),
        ("teacher/long/HEAD", Times(600, 43200)),
        ("other/course/HEAD", Times(600, 21600)),
    ],
)
def test_repositories_may_have_times_of_their_own(spec: str, expected: Times) -> None:
    """The first override that matches from the start counts, whatever the case of letters; the rest is as for all."""
    settings = CullSettings(
        idle=600,
        max_age=21600,
        overrides=[
            CullOverride(pattern="gh/teacher/course/.*", idle=3600),
            CullOverride(pattern="gh/teacher/.*", max_age=43200),
        ],
    )
    session = replace(YOUNG, spec=spec)
    assert times_of(session, settings) == expected
    quiet = {session.id: NOW - 700}
    assert bool(decide([session], quiet, NOW, settings)) is (expected.idle == 600)


def test_an_extension_keeps_a_session() -> None:
    """Until its time, whatever its age and idleness."""
    assert decide([OLD], {"old": 0}, NOW, SETTINGS, {"old": NOW + 1}) == []
    assert decide([OLD], {"old": 0}, NOW, SETTINGS, {"old": NOW, "other": NOW + 9}) == [Cull("old", TOO_OLD)]


@pytest.mark.parametrize(
    ("session", "active", "extended", "expected"),
    [
        (YOUNG, NOW - 100, 0, Outlook(NOW + 500, IDLE, 600)),
        (OLD, NOW, 0, Outlook(NOW, TOO_OLD, 21600)),
        (replace(YOUNG, created_at=NOW - 21300), NOW, 0, Outlook(NOW + 300, TOO_OLD, 21600)),
        (YOUNG, NOW - 100, NOW + 5000, Outlook(NOW + 5000, IDLE, 600)),
        (OLD, NOW - 100, NOW + 5000, Outlook(NOW + 5000, TOO_OLD, 21600)),
    ],
)
def test_when_a_session_will_end(session: Session, active: float, extended: float, expected: Outlook) -> None:
    """By idleness or age, whichever is first, and not before an operator's time."""
    assert outlook(session, active, SETTINGS, extended) == expected


@given(st.floats(0, 30000), st.floats(0, 30000), st.floats(0, 40000))
def test_the_outlook_is_what_will_be_done(age: float, idle: float, extended: float) -> None:
    """Just before that time nothing ends the session; from it on it ends, for the reason that was told."""
    session, until = replace(YOUNG, created_at=NOW - age), {"young": NOW - 10000 + extended}
    active = {"young": NOW - min(age, idle)}
    seen = outlook(session, active["young"], SETTINGS, until["young"])
    assert decide([session], active, seen.ends_at - 0.01, SETTINGS, until) == []
    assert decide([session], active, seen.ends_at + 0.01, SETTINGS, until) == [Cull("young", seen.reason)]
