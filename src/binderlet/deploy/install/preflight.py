"""What must be so before anything on the machine is touched; judged from facts alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from binderlet.deploy.install.wanted import CONFIG
from binderlet.finding import Finding, Level

GIB = 1024**3
SYSTEMS = {("debian", "12"), ("debian", "13"), ("ubuntu", "24.04")}
"""On which it has been tried."""
DISK, DISK_GOOD = 10 * GIB, 40 * GIB
"""A base image, one environment and their builds; and room for some dozens."""
MEMORY, MEMORY_GOOD = int(1.5 * GIB), 4 * GIB


@dataclass(frozen=True, slots=True)
class Ground:
    """What was seen; sizes in bytes."""

    system: tuple[str, str]
    """Distribution and version, as in ``/etc/os-release``."""
    disk_free: int
    memory: int
    holders: Sequence[tuple[int, str]]
    """Ports that visitors need and the program that has each, other than this service's."""
    domain: str
    addresses: Sequence[str]
    """To which the domain leads; empty where it is not in the DNS."""
    mine: Sequence[str]
    """This machine's own addresses."""
    unlike: Sequence[str] = ()
    """Keys that were asked for, and that the operator's own settings file has otherwise."""


def judge(ground: Ground) -> Iterator[Finding]:
    """Give a finding for each thing; one that fails must be mended first."""
    name = " ".join(ground.system)
    if ground.system in SYSTEMS:
        yield Finding("system", "ok", name)
    else:
        yield Finding("system", "warn", f"{name}: not tried here", "Debian 12 or 13 and Ubuntu 24.04 are")
    yield _size("disk", ground.disk_free, DISK, DISK_GOOD, "use a larger disk")
    yield _size("memory", ground.memory, MEMORY, MEMORY_GOOD, "use a larger machine")
    for port, holder in ground.holders:
        yield Finding("port", "fail", f"{port} is held by {holder}", "stop that program")
    if ground.domain:
        yield _domain(ground)
    if ground.unlike:
        seen = f"{CONFIG} is yours and stays; otherwise there than asked for now: {', '.join(ground.unlike)}"
        yield Finding("settings", "warn", seen, "change it there, and run the same command again")


def _size(check: str, size: int, least: int, good: int, mend: str) -> Finding:
    level: Level = "fail" if size < least else "warn" if size < good else "ok"
    seen = f"{size / GIB:.1f} GB"
    return Finding(check, level, seen, "" if level == "ok" else f"{mend}: {good // GIB} GB are good to begin with")


def _domain(ground: Ground) -> Finding:
    found = ", ".join(ground.addresses)
    if not ground.addresses:
        return Finding("domain", "warn", f"{ground.domain} is not in the DNS", "make an A or AAAA record for it")
    if set(ground.addresses) & set(ground.mine):
        return Finding("domain", "ok", f"{ground.domain} leads here")
    # Behind a provider's address translation a machine does not know its public address.
    seen = f"{ground.domain} leads to {found}, which is none of this machine's own addresses"
    return Finding("domain", "warn", seen, "fine where the provider translates addresses; else change the record")
