"""How a member stands, from one probe to the next: a pure machine with hysteresis.

::

    up --bad--> suspect --bad, retries in a row--> down --good, rise in a row--> up (slow start)
                suspect --good--> up

A member that failed one probe gets no launches from then on, and is asked again within seconds; only one that was
gone for long, or was never there, has to show that it is back.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import StrEnum

from binderlet.federation.config import CheckRules
from binderlet.federation.report import Report


class Phase(StrEnum):
    """Where a member is in the drawing above."""

    UNKNOWN = "unknown"
    """It was not asked yet."""
    UP = "up"
    SUSPECT = "suspect"
    """Its last probe failed: out, but perhaps only for a moment."""
    DOWN = "down"


@dataclass(frozen=True, slots=True)
class Standing:
    """What is known of a member."""

    phase: Phase = Phase.UNKNOWN
    since: float = 0.0
    """When the phase began, in seconds since the epoch."""
    bad: int = 0
    """Bad probes in a row."""
    good: int = 0
    """Good probes in a row."""
    back_at: float | None = None
    """When it came back; None where it was there from the beginning."""
    report: Report = field(default_factory=Report)
    """The last probe; what it could not tell is from the one before."""

    @property
    def trouble(self) -> str:
        """Why it gets nothing; empty while it may."""
        return "" if self.phase is Phase.UP else self.report.trouble or "not asked yet"


def advance(standing: Standing, report: Report, now: float, rules: CheckRules) -> Standing:
    """Give how the member stands after one more probe."""
    kept = _keep(report, standing.report)
    if report.trouble:
        bad = standing.bad + 1
        gone = standing.phase in {Phase.UNKNOWN, Phase.DOWN} or bad >= rules.retries
        return _enter(replace(standing, bad=bad, good=0, report=kept), Phase.DOWN if gone else Phase.SUSPECT, now)
    good = standing.good + 1
    well = replace(standing, bad=0, good=good, report=kept)
    if standing.phase is Phase.DOWN and good < rules.rise:
        return well
    if standing.phase is Phase.DOWN:
        well = replace(well, back_at=now)
    return _enter(well, Phase.UP, now)


def next_probe(standing: Standing, rules: CheckRules) -> float:
    """Give the seconds until the member is to be asked again, before jitter."""
    if standing.phase is Phase.SUSPECT or (standing.phase is Phase.DOWN and standing.good):
        return min(rules.confirm, rules.period)
    return rules.failed_period if standing.phase is Phase.DOWN else rules.period


def _enter(standing: Standing, phase: Phase, now: float) -> Standing:
    return standing if standing.phase is phase else replace(standing, phase=phase, since=now)


def _keep(new: Report, old: Report) -> Report:
    """Carry over what a member cannot say while it does not answer."""
    if not new.reached:
        return replace(new, room=old.room, draining=old.draining, share=old.share, versions=old.versions)
    return new if new.versions is not None else replace(new, versions=old.versions)
