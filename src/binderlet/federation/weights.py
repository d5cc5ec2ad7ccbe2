"""How much each member may get now: its weight, times what it is well enough for. Pure.

Everything here follows from the file, the clock and what the members say of themselves, so that several
redirectors agree without talking to each other.
"""

from __future__ import annotations

import calendar
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from binderlet.federation.config import Federation, Skew, Spread, VersionRules
from binderlet.federation.report import Room
from binderlet.federation.standing import Phase, Standing

STEPS = 16
"""Weights change in steps, so that redirectors that asked at different moments seldom differ."""
EARLY = 0.1
"""Part of a monthly budget that a member may be ahead of the calendar before it gets nothing for a while."""
AT_START = 0.1
"""Part of its share that a member gets at once when it comes back."""
FULL = "few places left"
DRAINING = "draining"


@dataclass(frozen=True, slots=True)
class Share:
    """What one member may get."""

    name: str
    url: str
    weight: float
    """0: nothing."""
    reason: str
    """Why it is less than its configured weight; empty where it is not."""


def shares(
    federation: Federation, standings: Mapping[str, Standing], used: Mapping[str, int], now: float
) -> list[Share]:
    """Give every member's share, in the file's order. ``used``: launches given this calendar month."""
    moment = Moment(federation, reference(federation, standings), now)
    return [share(name, standings.get(name, Standing()), used.get(name, 0), moment) for name in federation.members]


@dataclass(frozen=True, slots=True)
class Moment:
    """What counts for all members alike."""

    federation: Federation
    measure: Mapping[str, Any] | None
    """The versions that are right."""
    now: float


def share(name: str, standing: Standing, used: int, moment: Moment) -> Share:
    """Give one member's share; the first reason that makes it nothing is given, else the one that takes most."""
    federation, now, report = moment.federation, moment.now, standing.report
    member = federation.members[name]
    reasons = [
        (0.0 if standing.phase is not Phase.UP else 1.0, standing.trouble),
        (0.0 if member.drain or report.draining else 1.0, DRAINING),
        (1.0 if alike(report.versions, moment.measure, federation.versions) else 0.0, "other versions than the prime"),
        (room_factor(report.room, federation.spread), FULL),
        (budget_factor(used, member.budget, now), "ahead of its budget"),
        (start_factor(standing.back_at, now, federation.spread.slow_start), "slow start"),
        (member.ramp(now), "ramp"),
        (report.share, "asked for less"),
    ]
    factor, lowest, reason = 1.0, 1.0, ""
    for part, why in reasons:
        factor *= part
        if part < lowest:
            lowest, reason = part, why
    drained = DRAINING if member.drain or report.draining else reason
    return Share(name, member.url, member.weight * factor, drained if member.weight else "weight 0")


def usable(shares: list[Share], federation: Federation, standings: Mapping[str, Standing]) -> list[Share]:
    """Give who is chosen among: those that may get something, and where nobody may, the least bad.

    That is those that are well but full, whose visitors then wait in a queue; then any that are well; then those that
    failed a moment ago, as it is more likely that this redirector was cut off than that all went at once; then the
    primes.
    """
    open_ones = [one for one in shares if one.weight > 0]
    if open_ones:
        return open_ones
    left = _configured(shares, federation)
    phases = {one.name: standings.get(one.name, Standing()).phase for one in left}
    well = [one for one in left if phases[one.name] is Phase.UP]
    tiers = (
        [one for one in well if one.reason == FULL],
        well,
        [one for one in left if phases[one.name] is Phase.SUSPECT],
        [one for one in left if federation.members[one.name].prime],
        left,
    )
    return next((tier for tier in tiers if tier), [_first(federation)])


def _configured(shares: list[Share], federation: Federation) -> list[Share]:
    """Give the members that do not drain, with the weights of the file."""
    members = federation.members
    kept = [one for one in shares if members[one.name].weight and one.reason != DRAINING]
    return [Share(one.name, one.url, members[one.name].weight, one.reason) for one in kept]


def _first(federation: Federation) -> Share:
    name = federation.primes[0]
    return Share(name, federation.members[name].url, 1.0, "nobody else")


def reference(federation: Federation, standings: Mapping[str, Standing]) -> Mapping[str, Any] | None:
    """Give the versions that are right: those of the first prime that said any, well or not."""
    for name in federation.primes:
        versions = standings.get(name, Standing()).report.versions
        if versions is not None:
            return versions
    return None


def alike(versions: Mapping[str, Any] | None, measure: Mapping[str, Any] | None, rules: VersionRules) -> bool:
    """Tell whether a member's versions are near enough; nothing to compare with is near enough."""
    if rules.rule is Skew.ANY or measure is None or versions is None:
        return True
    wanted = rules.keys if rules.rule is Skew.KEYS else sorted({*versions, *measure})
    return all(
        versions.get(key) == measure.get(key) or _accepted(versions.get(key), rules.accept.get(key, []))
        for key in wanted
    )


def _accepted(value: object, patterns: list[str]) -> bool:
    return any(re.fullmatch(pattern, str(value)) for pattern in patterns)


def room_factor(room: Room | None, spread: Spread) -> float:
    """Give 1 with enough places free, less with few, 0 where only the reserve is left; in steps.

    A small member keeps back at most half of its places, whatever the reserve is.
    """
    if room is None:
        return 1.0
    open_places = room.quota - room.total - min(spread.reserve, room.quota // 2)
    if open_places <= 0:
        return 0.0
    eased = spread.ease * room.quota
    return 1.0 if open_places >= eased else _stepped(open_places / eased)


def start_factor(back_at: float | None, now: float, slow_start: float) -> float:
    """Give what a member that came back gets: a little at once, all of it after ``slow_start`` seconds."""
    if back_at is None or now - back_at >= slow_start:
        return 1.0
    return _stepped(AT_START + (1 - AT_START) * max(0.0, now - back_at) / slow_start)


def budget_factor(used: int, budget: int, now: float) -> float:
    """Give 1 while a member's launches keep to the calendar, less as they run ahead, 0 where the budget is used up."""
    if not budget:
        return 1.0
    if used >= budget:
        return 0.0
    ahead = used / budget - month_passed(now)
    return 1.0 if ahead <= 0 else 0.0 if ahead >= EARLY else _stepped(1 - ahead / EARLY)


def month_passed(now: float) -> float:
    """Give the part of the calendar month (UTC) that has passed."""
    moment = datetime.fromtimestamp(now, UTC)
    days = calendar.monthrange(moment.year, moment.month)[1]
    seconds = (moment.day - 1) * 86400 + moment.hour * 3600 + moment.minute * 60 + moment.second
    return seconds / (days * 86400)


def month_of(now: float) -> str:
    """Name the calendar month (UTC), such as 2026-03."""
    return f"{datetime.fromtimestamp(now, UTC):%Y-%m}"


def _stepped(part: float) -> float:
    return max(1, round(part * STEPS)) / STEPS
