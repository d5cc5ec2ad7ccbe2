"""When each session was last used, from the router's counters. Pure.

An open but idle tab is a WebSocket that is pinged, 6 bytes in and 2 bytes out every 30 seconds, and one that is told
of the file browser's own polling, 344 bytes out every 10 seconds. That is no use; a request, or more bytes, is.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Self

from binderlet.model import Traffic, known

PING_EVERY = 30.0
PING_BYTES_IN = 6
PING_BYTES_OUT = 2
EVENTS_OUT = 200.0
"""Bytes per second that several idle tabs are told of each other's polling; what a person does also sends bytes in."""
SLACK_IN = 64
SLACK_OUT = 256
"""Bytes that are no use either, such as a closing WebSocket; the shortest message of a notebook is longer."""
NO_TRAFFIC = Traffic(0, 0, 0, 0)


def is_use(before: Traffic, after: Traffic, seconds: float) -> bool:
    """Whether somebody used a session between two readings, ``seconds`` apart."""
    if after.requests > before.requests:
        return True
    pings = (seconds / PING_EVERY + 1) * max(before.websockets, after.websockets)
    bytes_in, bytes_out = after.bytes_in - before.bytes_in, after.bytes_out - before.bytes_out
    events = EVENTS_OUT * seconds if pings else 0.0
    return bytes_in > pings * PING_BYTES_IN + SLACK_IN or bytes_out > pings * PING_BYTES_OUT + events + SLACK_OUT


def restarted(before: Mapping[str, Traffic], after: Mapping[str, Traffic]) -> bool:
    """Whether the data path began counting anew between two readings, so that they cannot be compared."""
    return any(
        (now := after.get(session_id, NO_TRAFFIC)).requests < was.requests
        or now.bytes_in < was.bytes_in
        or now.bytes_out < was.bytes_out
        for session_id, was in before.items()
    )


@dataclass(slots=True)
class Activity:
    """What was read last, and when each session was last used."""

    read_at: float
    traffic: dict[str, Traffic]
    last_active: dict[str, float]
    interrupted: bool = False
    busy_since: dict[str, float] = field(default_factory=dict)
    """When sessions that are in use only by what runs in them were last used by somebody."""
    extended: dict[str, float] = field(default_factory=dict)
    """Until when operators let sessions stay."""

    @classmethod
    def empty(cls, now: float) -> Self:
        """Know nothing."""
        return cls(now, {}, {})

    def observe(self, traffic: Mapping[str, Traffic], sessions: Iterable[str], now: float) -> None:
        """Take a reading. A session seen for the first time counts as used now, and so do all after an outage."""
        # While the data path was away nobody could use anything, so everyone gets the whole idle time anew.
        sessions = set(sessions)
        still = {session_id: was for session_id, was in self.traffic.items() if session_id in sessions}
        judged = not self.interrupted and not restarted(still, traffic)
        seconds = max(now - self.read_at, 0.0)
        active: dict[str, float] = {}
        for session_id in sessions:
            before, after = self.traffic.get(session_id, NO_TRAFFIC), traffic.get(session_id, NO_TRAFFIC)
            unused = session_id in self.last_active and judged and not is_use(before, after, seconds)
            active[session_id] = self.last_active[session_id] if unused else now
            if not unused:
                self.busy_since.pop(session_id, None)
        self.last_active, self.read_at, self.interrupted = active, now, False
        self.traffic = {session_id: traffic[session_id] for session_id in active if session_id in traffic}
        self.busy_since = {key: since for key, since in self.busy_since.items() if key in sessions}
        self.extended = {key: until for key, until in self.extended.items() if key in sessions}

    def interrupt(self) -> None:
        """Say that the data path did not answer."""
        self.interrupted = True

    def touch(self, session_id: str, now: float) -> None:
        """Say that a session is in use by what runs in it, which its traffic does not show."""
        self.busy_since.setdefault(session_id, self.last_active.get(session_id, now))
        self.last_active[session_id] = now

    def busy_for(self, session_id: str, now: float) -> float:
        """Give how long a session has been in use by nobody but what runs in it, in seconds."""
        return now - self.busy_since.get(session_id, self.last_active.get(session_id, now))

    def as_json(self) -> dict[str, Any]:
        """Give all of it in a form that ``from_json`` takes."""
        return asdict(self)

    @classmethod
    def from_json(cls, body: Mapping[str, Any]) -> Self:
        """Read it back; raises ``ValueError``, ``KeyError`` or ``TypeError`` where it is something else."""
        return cls(
            read_at=float(body["read_at"]),
            traffic={str(key): Traffic(**known(Traffic, value)) for key, value in body["traffic"].items()},
            last_active={str(key): float(value) for key, value in body["last_active"].items()},
            interrupted=bool(body["interrupted"]),
            busy_since={str(key): float(value) for key, value in body.get("busy_since", {}).items()},
            extended={str(key): float(value) for key, value in body.get("extended", {}).items()},
        )
