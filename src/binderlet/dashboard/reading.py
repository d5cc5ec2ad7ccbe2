"""Counts the lines of an archive fast. Pure: lines in, tallies out.

Launches repeat: of one repository at one commit there are many, equal but for their times. What is left of a line
without its time is parsed once and remembered, so most lines cost a search, a look-up and two additions.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Iterable
from datetime import UTC, date, datetime
from functools import lru_cache

from binderlet.dashboard.tallies import NO_MEMBER, Tallies, Tally, repository_of

STAMP = b'"timestamp": "'
START = len(STAMP)
MINUTE = 16
"""Bytes of a time up to its minute: ``2024-05-06T07:08``."""
TIME = re.compile(rb"[12]\d{3}-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])T([01]\d|2[0-3]):[0-5]\d")
UTC_ENDS = (b":00+00:00", b":00Z")
REMEMBERED = 100_000
"""Distinct lines remembered, some 50 MB at most."""
BATCH = 500_000
"""Lines of a day counted before they are added up: bounds the memory for one large file."""


class _Kind:
    """Lines of one member and repository."""

    __slots__ = ("count", "keep")

    def __init__(self, keep: Callable[[bytes], None]) -> None:
        self.keep = keep
        """Takes the minute of a launch, for the member that served it."""
        self.count = 0
        """Lines of the day that is being counted."""


class Reader:
    """Counts lines; ``skipped`` are those that are no launch events. ``member`` is that of events that name none."""

    def __init__(self, member: str = NO_MEMBER) -> None:
        self.skipped = 0
        self._member = member
        self._known: dict[bytes, _Kind] = {}
        self._kinds: dict[tuple[str, str, bool], _Kind] = {}
        self._minutes: dict[str, list[bytes]] = {}

    def read(self, lines: Iterable[bytes]) -> Tallies:
        """Count lines, whatever days and members they are of; quick where the lines of a day follow each other."""
        found: Tallies = {}
        known, day, left = self._known, b"", BATCH
        for line in lines:
            at = line.find(STAMP) + START
            stamp = line[at : at + MINUTE]
            kind = known.get(line[:at] + line[at + MINUTE :])
            if kind is None:
                learned = self._learn(line, at)
                if learned is None:
                    continue
                kind, stamp = learned
            if not stamp.startswith(day) or not left or not day:
                self._settle(found, day)
                day, left = stamp[:10], BATCH
            kind.count += 1
            kind.keep(stamp)
            left -= 1
        self._settle(found, day)
        if len(known) + len(self._kinds) > REMEMBERED:
            known.clear()
            self._kinds.clear()
        return found

    def _learn(self, line: bytes, at: int) -> tuple[_Kind, bytes] | None:
        """Parse a line of a kind not seen before; it is remembered if its time is written as archives write it."""
        stamp = line[at : at + MINUTE]
        try:
            event = json.loads(line)
            provider, spec, status = str(event["provider"]), str(event["spec"]), event.get("status", "success")
            is_plain = TIME.fullmatch(stamp) is not None and line[at + MINUTE :].startswith(UTC_ENDS)
            stamp = stamp if is_plain else minute_of(event["timestamp"])
            member = str(event.get("origin") or self._member)
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            self.skipped += bool(line.strip())
            return None
        key = (member, repository_of(provider, spec), status == "success")
        kind = self._kinds.get(key)
        if kind is None:
            minutes = self._minutes.setdefault(member, [])
            kind = _Kind(minutes.append if key[2] else _no_minute)
            self._kinds[key] = kind
        if is_plain:
            self._known[line[:at] + line[at + MINUTE :]] = kind
        return kind, stamp

    def _settle(self, found: Tallies, day: bytes) -> None:
        """Add up what was counted of a day."""
        try:
            number = ordinal(day) if day else 0
        except ValueError:  # such as the 31st of a short month
            self.skipped += sum(kind.count for kind in self._kinds.values())
            number = 0
        for (member, repository, is_success), kind in self._kinds.items():
            if kind.count and number:
                tally = found.setdefault((number, member), Tally())
                if is_success:
                    tally.launches += kind.count
                    tally.repositories[repository] += kind.count
                else:
                    tally.failures += kind.count
            kind.count = 0
        for member, stamps in self._minutes.items():
            for stamp, count in Counter(stamps).items():
                if number and TIME.fullmatch(stamp):
                    found[number, member].minutes[int(stamp[11:13]) * 60 + int(stamp[14:16])] += count
            stamps.clear()


def _no_minute(stamp: bytes) -> None:
    """Keep no minute: of failures the number alone counts."""


@lru_cache(maxsize=4096)
def ordinal(day: bytes) -> int:
    """Give the number of a day, written ``2024-05-06``."""
    return date.fromisoformat(day.decode()).toordinal()


def minute_of(timestamp: str) -> bytes:
    """Give the minute of a time in UTC, as archives write it; a time without zone is UTC.

    Raises:
        ValueError: it is no time.
    """
    moment = datetime.fromisoformat(timestamp)
    moment = moment.astimezone(UTC) if moment.tzinfo else moment
    return moment.isoformat()[:MINUTE].encode()
