"""What must be so before anything is touched."""

from __future__ import annotations

from dataclasses import replace

import pytest

from binderlet.deploy.install.preflight import GIB, Ground, judge

GOOD = Ground(("debian", "12"), 80 * GIB, 16 * GIB, (), "b.example.org", ("192.0.2.7",), ("192.0.2.7", "10.0.0.1"))


def test_a_good_machine() -> None:
    """Everything is well."""
    assert {finding.level for finding in judge(GOOD)} == {"ok"}
    assert [finding.check for finding in judge(replace(GOOD, domain=""))] == ["system", "disk", "memory"]


@pytest.mark.parametrize(
    ("ground", "check", "level", "words"),
    [
        (replace(GOOD, system=("fedora", "42")), "system", "warn", "fedora 42"),
        (replace(GOOD, disk_free=20 * GIB), "disk", "warn", "20.0 GB"),
        (replace(GOOD, disk_free=5 * GIB), "disk", "fail", "5.0 GB"),
        (replace(GOOD, memory=2 * GIB), "memory", "warn", "2.0 GB"),
        (replace(GOOD, memory=GIB), "memory", "fail", "1.0 GB"),
        (replace(GOOD, holders=((80, "nginx (process 7)"),)), "port", "fail", "80 is held by nginx"),
        (replace(GOOD, addresses=()), "domain", "warn", "not in the DNS"),
        (replace(GOOD, mine=("10.0.0.1",)), "domain", "warn", "leads to 192.0.2.7"),
        (replace(GOOD, unlike=("server.public_url",)), "settings", "warn", "than asked for now: server.public_url"),
    ],
)
def test_what_is_wrong(ground: Ground, check: str, level: str, words: str) -> None:
    """Each has its own words and a mend."""
    (found,) = [finding for finding in judge(ground) if finding.level != "ok"]
    assert (found.check, found.level) == (check, level)
    assert words in found.seen
    assert found.mend
