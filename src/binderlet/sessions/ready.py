"""Waits until a session answers, or has died."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from binderlet.engine.base import Engine
from binderlet.errors import EngineUnavailable, SessionDied, SessionSilent
from binderlet.model import Session, SessionState
from binderlet.sessions.probe import Probe

PACE = ((3.0, 0.015), (15.0, 0.05), (float("inf"), 0.25))
"""Up to how many seconds after the start there are how many seconds between attempts."""
LOOK_UNWATCHED = 1.0
LOOK_WATCHED = 10.0
"""Seconds between looks at the engine's list, in case nothing told of the session's end."""
LAST_LINES = 20
LONGEST_LOG = 2000


async def until_ready(
    session: Session,
    death: asyncio.Future[Session],
    engine: Engine,
    probe: Probe,
    *,
    timeout: float,  # noqa: ASYNC109 - the deadline has an error of its own
    is_watched: Callable[[], bool],
) -> None:
    """Return as soon as the session answers with HTTP 200; ``death`` is done when it ended.

    Raises:
        SessionDied: it ended; the message has its last lines.
        SessionSilent: it did not answer in time.
    """
    began = looked = time.monotonic()
    while True:
        why_not = await probe.why_not_ready(session)
        if not why_not:
            return
        now = time.monotonic()
        if now - began > timeout:
            lines = await _last_lines(session, engine)
            raise SessionSilent(f"The session did not answer within {timeout:.0f} seconds: {why_not}.{lines}")
        if not death.done() and now - looked > (LOOK_WATCHED if is_watched() else LOOK_UNWATCHED):
            looked = now
            await _look(session, death, engine)
        await asyncio.wait([death], timeout=next(pause for until, pause in PACE if now - began < until))
        if death.done():
            lines = await _last_lines(session, engine)
            raise SessionDied(f"The session ended before it answered: {_cause(death.result())}.{lines}")


async def _look(session: Session, death: asyncio.Future[Session], engine: Engine) -> None:
    try:
        listed = {one.id: one for one in await engine.list()}
    except EngineUnavailable:
        return  # cannot be judged now; the next look will tell
    found = listed.get(session.id)
    if not death.done() and (found is None or found.state is SessionState.ENDED):
        death.set_result(found or session)


def _cause(ended: Session) -> str:
    if ended.ended_because:
        return ended.ended_because.rstrip(".")
    return "it is gone" if ended.exit_code is None else f"its exit code was {ended.exit_code}"


async def _last_lines(session: Session, engine: Engine) -> str:
    """Give the session's last lines for a message, without its token."""
    try:
        lines = await engine.logs(session.id, LAST_LINES)
    except EngineUnavailable:
        return ""
    lines = lines.replace(session.token, "...").strip()[-LONGEST_LOG:]
    return f" Its last lines:\n{lines}" if lines else ""
