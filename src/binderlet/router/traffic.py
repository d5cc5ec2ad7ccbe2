"""From stick tables to counters that only grow.

A reload starts a new HAProxy worker with empty tables, while the old one keeps the open WebSockets; a crash loses
the tables. Consumers compare two looks, so a counter must never fall between them.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import TypeVar

from binderlet.clients.haproxy import Table
from binderlet.model import Traffic

H = TypeVar("H", bound=Hashable)

NOTHING = Traffic(websockets=0, requests=0, bytes_in=0, bytes_out=0)


def traffic_of(act: Table, ws: Table) -> dict[str, Traffic]:
    """Join one worker's tables: requests and bytes from ``act``, open WebSockets from ``ws``."""
    return {
        session: Traffic(
            websockets=ws.get(session, {}).get("conn_cur", 0),
            requests=row.get("http_req_cnt", 0),
            bytes_in=row.get("bytes_in_cnt", 0),
            bytes_out=row.get("bytes_out_cnt", 0),
        )
        for session, row in act.items()
    }


def add(counters: Iterable[Traffic]) -> Traffic:
    """Add counters up."""
    total = NOTHING
    for one in counters:
        total = Traffic(
            websockets=total.websockets + one.websockets,
            requests=total.requests + one.requests,
            bytes_in=total.bytes_in + one.bytes_in,
            bytes_out=total.bytes_out + one.bytes_out,
        )
    return total


@dataclass(slots=True)
class Tally:
    """Adds what ended workers counted to what the living ones count."""

    _last: dict[Hashable, Mapping[str, Traffic]] = field(default_factory=dict)
    _ended: dict[str, Traffic] = field(default_factory=dict)

    def count(self, workers: Mapping[H, Mapping[str, Traffic]]) -> dict[str, Traffic]:
        """Take the look at each living worker, by process id or name, and give the sums per session."""
        for pid in self._last.keys() - workers.keys():
            for session, counters in self._last[pid].items():
                # Its WebSockets have closed with it; what went through them has not.
                closed = replace(counters, websockets=0)
                self._ended[session] = add((self._ended.get(session, NOTHING), closed))
        self._last = {pid: dict(rows) for pid, rows in workers.items()}
        sessions = self._ended.keys() | {session for rows in workers.values() for session in rows}
        return {
            session: add(rows.get(session, NOTHING) for rows in (self._ended, *workers.values()))
            for session in sessions
        }

    def forget(self, session: str) -> None:
        """Drop what ended workers counted for a session that is gone."""
        self._ended.pop(session, None)
        self._last = {
            pid: {key: value for key, value in rows.items() if key != session} for pid, rows in self._last.items()
        }
