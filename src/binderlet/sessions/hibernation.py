"""Which sessions' memory is pushed out to swap now. Pure: readings and the time come in, session ids go out.

Rule 1: a session is quiet once nobody used it for ``hibernate.after`` and it used no CPU time at the last looks.
Rule 2: what grows back soon after it was pushed out is left alone for twice as long each time.
Rule 3: nothing is pushed out while memory or disk are what everybody waits for, or while swap is nearly full.
Rule 4: the quietest and largest come first, and the work may take a quarter of the cores, a whole one at most; a
machine that runs short of memory waits less long and may take a whole one.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from binderlet.clients.cgroups import Usage
from binderlet.clients.memory import Machine

MIB = 1024**2
BUSY = 0.03
"""Share of a core. A Jupyter server and a kernel with nobody there use 0.002, with an open tab 0.005."""
STILL = 20.0
"""Seconds without CPU use before a session counts as quiet; a shorter ``after`` counts instead."""
WORTH = 24 * MIB
"""What a session must have in memory; a hibernated one comes back to about 10 MB by what its server does by itself."""
COMPUTES = 0.1
"""Share of a core that a program must use to count as work that somebody waits for."""
SOON = 60.0
"""Seconds within which memory that comes back was pushed out too early."""
GROWN = 32 * MIB
LONGEST = 3600.0
"""Seconds for which a session is left alone at most."""
MEMORY_HIGH, DISK_HIGH, LOW = 20.0, 40.0, 5.0
"""Per cent of stalled time at which the work stops, and at which it goes on."""
PRESSURE_WINDOW = 10.0
SWAP_RESERVE = 0.05
"""Share of swap that stays free for the kernel's own needs."""
SHORT = 0.25
"""Share of memory; with less available the machine is short of it."""
HURRY = 4.0
SHARE, MOST = 0.25, 1.0
"""Share of the cores that the work may take, and of one core at most."""
LONGEST_CREDIT = 10.0
"""Seconds of work that may be saved up."""
FIRST_SPEED = 150.0 * MIB
"""Bytes per second, until it was measured."""


@dataclass(frozen=True, slots=True)
class Look:
    """One session as it was seen just now."""

    session_id: str
    quiet: float
    """Seconds since somebody used it."""
    usage: Usage


@dataclass(slots=True)
class _Mind:
    """What is remembered of one session."""

    cpu: float
    looked_at: float
    still_since: float
    share: float = 0.0
    """Of a core, between the last two looks."""
    slept_at: float | None = None
    left: int = 0
    """Bytes that stayed in memory then."""
    bounces: int = 0
    not_before: float = 0.0


@dataclass(slots=True)
class Hibernation:
    """The policy; ``decide`` at each look, ``slept`` after each session that was pushed out."""

    after: float
    """Seconds of quiet."""
    cores: int = 1
    paused_because: str = ""
    _minds: dict[str, _Mind] = field(default_factory=dict)
    _credit: float = 0.0
    _looked_at: float | None = None
    _speed: float = FIRST_SPEED
    _work: list[tuple[float, float]] = field(default_factory=list)

    def decide(self, looks: Iterable[Look], machine: Machine, now: float) -> Sequence[str]:
        """Give the sessions to push out now, in order."""
        looks = list(looks)
        self._minds = {look.session_id: self._update(look, now) for look in looks}
        short = machine.available < SHORT * machine.memory
        self._earn(now, MOST if short else min(MOST, SHARE * self.cores))
        self.paused_because = self._why_not(machine, now)
        if self.paused_because:
            return []
        after = self.after / HURRY if short else self.after
        quiet = [look for look in looks if self._is_quiet(look, after, now)]
        quiet.sort(key=lambda look: look.quiet * look.usage.resident, reverse=True)
        chosen = []
        for look in quiet:
            if self._credit <= 0:
                break
            self._credit -= look.usage.resident / self._speed
            chosen.append(look.session_id)
        return chosen

    @property
    def computing(self) -> frozenset[str]:
        """The sessions in which something computed between the last two looks."""
        return frozenset(session_id for session_id, mind in self._minds.items() if mind.share >= COMPUTES)

    def slept(self, session_id: str, before: Usage, after: Usage, seconds: float, now: float) -> None:
        """Say how it went with one session."""
        freed = max(0, before.resident - after.resident)
        self._work.append((now, seconds))
        self._credit += before.resident / self._speed - seconds  # the estimate was taken off: now what it really took
        if seconds > 0 and freed:
            self._speed = 0.8 * self._speed + 0.2 * before.resident / seconds
        if (mind := self._minds.get(session_id)) is not None:
            mind.slept_at, mind.left = now, after.resident
            if after.resident >= WORTH and not freed:
                self._leave_alone(mind, now)  # the kernel will not push it out, so trying again is only work

    def _update(self, look: Look, now: float) -> _Mind:
        mind = self._minds.get(look.session_id)
        if mind is None:
            return _Mind(look.usage.cpu, now, now)
        seconds = now - mind.looked_at
        if seconds > 0:
            mind.share = (look.usage.cpu - mind.cpu) / seconds
        if mind.share > BUSY:
            mind.still_since = now
        mind.cpu, mind.looked_at = look.usage.cpu, now
        if mind.slept_at is not None and look.usage.resident > mind.left + GROWN:
            if now - mind.slept_at <= SOON:
                self._leave_alone(mind, now)
            else:
                mind.bounces = 0
            mind.slept_at = None
        return mind

    def _leave_alone(self, mind: _Mind, now: float) -> None:
        mind.bounces += 1
        mind.not_before = now + min(LONGEST, self.after * 2**mind.bounces)

    def _is_quiet(self, look: Look, after: float, now: float) -> bool:
        mind = self._minds[look.session_id]
        return (
            look.quiet >= after
            and now - mind.still_since >= min(STILL, after)
            and look.usage.resident >= WORTH
            and now >= mind.not_before
        )

    def _earn(self, now: float, share: float) -> None:
        if self._looked_at is not None:
            self._credit = min(LONGEST_CREDIT, self._credit + share * max(0.0, now - self._looked_at))
        self._looked_at = now

    def _why_not(self, machine: Machine, now: float) -> str:
        if machine.swap == 0:
            return "there is no swap"
        if machine.swap_free < SWAP_RESERVE * machine.swap:
            return "swap is nearly full"
        # The kernel counts our own work as waiting for memory too.
        self._work = [(at, seconds) for at, seconds in self._work if now - at <= PRESSURE_WINDOW]
        ours = 100.0 * sum(seconds for _, seconds in self._work) / PRESSURE_WINDOW
        memory, disk = machine.memory_pressure - ours, machine.disk_pressure - ours
        waiting = self.paused_because.startswith("everything waits")
        if memory > (LOW if waiting else MEMORY_HIGH):
            return "everything waits for memory"
        if disk > (LOW if waiting else DISK_HIGH):
            return "everything waits for the disk"
        return ""


def is_hibernated(usage: Usage) -> bool:
    """Whether most of a session is in swap, whoever put it there."""
    return usage.swap > 0 and usage.resident <= max(WORTH, usage.swap // 4)
