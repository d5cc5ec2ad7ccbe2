"""Facts become findings: a table."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from binderlet.deploy.doctor import GIB, EngineFacts, Facts, PortFacts, Reach, evaluate, rounded
from binderlet.finding import Finding

GOOD = Facts(
    needs_engine=True,
    engine=EngineFacts("/var/run/docker.sock", "Docker 20.10.24", "overlay2", buildx="0.13.1"),
    programs={
        "haproxy": "2.6.12-1+deb12u4",
        "git": "2.39.5",
        "git-lfs": "3.3.0",
        "mmdebstrap": "1.3.5",
        "nft": "1.0.6",
    },
    disk_path="/srv",
    disk_free=100 * GIB,
    disk_least=5 * GIB,
    memory=16 * GIB,
    swap=8 * GIB,
    session_memory=2 * GIB,
    places="167 sessions, limited by swap",
    inotify_instances=8192,
    inotify_watches=1048576,
    file_descriptors=1048576,
    port=PortFacts("0.0.0.0:8585", free=True),
    clock_synchronised=True,
)


def engine(**changes: str) -> dict[str, Any]:
    """An engine that differs from the good one."""
    return {"engine": replace(GOOD.engine, **changes)}


def programs(**changes: str | None) -> dict[str, Any]:
    """Programs that differ from the good ones."""
    return {"programs": {**GOOD.programs, **{name.replace("_", "-"): version for name, version in changes.items()}}}


def port(**changes: Any) -> dict[str, Any]:  # noqa: ANN401 - a table of values
    """A port that is held."""
    return {"port": PortFacts("0.0.0.0:8585", free=False, **changes)}


def find(check: str, changes: dict[str, Any]) -> Finding:
    """What is found where the machine differs from the good one."""
    return next(finding for finding in evaluate(replace(GOOD, **changes)) if finding.check == check)


def test_programs_that_are_not_needed() -> None:
    """What was not looked for is not missed."""
    facts = replace(GOOD, programs={"git": "2.39.5"})
    assert not {"nft", "haproxy"} & {finding.check for finding in evaluate(facts)}


def test_good_machine() -> None:
    """A good machine has every check, all of them well, and nothing to mend."""
    findings = evaluate(GOOD)
    assert [finding for finding in findings if finding.level != "ok" or finding.mend] == []
    assert [finding.check for finding in findings] == [
        "engine", "storage", "buildkit", "haproxy", "git", "git-lfs", "mmdebstrap", "nft", "disk", "memory", "swap",
        "places", "inotify instances", "inotify watches", "file descriptors", "port", "clock",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("check", "changes", "level", "seen", "mend"),
    [
        ("engine", engine(error="No engine listens."), "fail", "No engine listens.", "apt-get install docker.io"),
        ("engine", engine(error="Down.", hint="systemctl start docker"), "fail", "Down.", "systemctl start docker"),
        ("storage", engine(storage_driver="vfs"), "warn", "vfs copies whole images", "overlay2"),
        ("buildkit", engine(buildx=""), "fail", "no docker command", "apt-get install docker-buildx"),
        ("haproxy", programs(haproxy=None), "fail", "not installed: it carries all traffic", "apt-get install haproxy"),
        ("haproxy", programs(haproxy="2.2.9"), "fail", "2.2.9 is too old: 2.4 is needed", "Debian 12"),
        ("git", programs(git=None), "fail", "not installed", "apt-get install git"),
        ("git-lfs", programs(git_lfs=None), "warn", "stay pointers", "apt-get install git-lfs"),
        ("nft", programs(nft=None), "warn", "private network", "apt-get install nftables"),
        ("mmdebstrap", programs(mmdebstrap=None), "warn", "base image", "builder.base_image"),
        ("disk", {"disk_free": 4 * GIB}, "fail", "4.0G free at /srv: builds are refused below 5G", "prune"),
        ("disk", {"disk_free": 9 * GIB}, "warn", "near the 5G", "builder.min_free_disk"),
        ("memory", {"memory": 2 * GIB}, "warn", "not even one fits well", "session.memory"),
        ("swap", {"swap": 0}, "warn", "none", "binderlet swap setup"),
        ("inotify instances", {"inotify_instances": 128}, "warn", "128", "fs.inotify.max_user_instances=4096"),
        ("inotify watches", {"inotify_watches": 8192}, "warn", "8192", "fs.inotify.max_user_watches=524288"),
        ("file descriptors", {"file_descriptors": 1024}, "warn", "1024", "ulimit -n 65536"),
        ("port", port(holder="nginx (process 7)"), "fail", "held by nginx (process 7)", "server.port"),
        ("port", port(), "fail", "0.0.0.0:8585 is held", "server.port"),
        ("clock", {"clock_synchronised": False}, "warn", "not synchronised", "timedatectl set-ntp true"),
        (
            "network settings",
            {"left_out": ("a find-links folder",)},
            "warn",
            "a find-links folder",
            "network.index_url",
        ),
        (
            "reach package index",
            {"reaches": (Reach("package index", "https://x/", "timed out", "network.index_url"),)},
            "fail",
            "https://x/: timed out",
            "set network.index_url",
        ),
    ],
)
def test_what_is_wrong(check: str, changes: dict[str, Any], level: str, seen: str, mend: str) -> None:
    """Each fault is found, at its level, with what was seen and a mend."""
    finding = find(check, changes)
    assert finding.level == level
    assert seen in finding.seen
    assert mend in finding.mend


@pytest.mark.parametrize(
    ("check", "changes", "seen"),
    [
        ("engine", {"needs_engine": False, "engine": EngineFacts(error="none")}, "none is needed"),
        ("buildkit", engine(buildx="", old_client="20.10.24"), "20.10.24, which needs no buildx"),
        ("buildkit", engine(buildx="", name="Podman 4.3.1"), "Podman builds images by itself"),
        ("haproxy", programs(haproxy="installed, but it does not tell its version"), "installed"),
        ("haproxy", programs(haproxy="2.10"), "2.10"),
        ("port", port(holder="haproxy (process 7)", ours=True), "which is this service's"),
        ("clock", {"clock_synchronised": None}, "cannot be seen"),
        ("reach gh", {"reaches": (Reach("gh", "https://x/"),)}, "https://x/"),
    ],
)
def test_what_is_well(check: str, changes: dict[str, Any], seen: str) -> None:
    """What is different but well is said to be well."""
    finding = find(check, changes)
    assert (finding.level, finding.mend) == ("ok", "")
    assert seen in finding.seen


def test_unknown_facts() -> None:
    """A driver or limit that cannot be known is not judged."""
    checks = [
        finding.check
        for finding in evaluate(
            replace(GOOD, inotify_instances=None, inotify_watches=None, **engine(storage_driver=""))
        )
    ]
    assert not {"storage", "inotify instances", "inotify watches"} & set(checks)


def test_as_dict() -> None:
    """Findings are plain for JSON."""
    assert Finding("x", "ok", "seen").as_dict() == {"check": "x", "level": "ok", "seen": "seen", "mend": ""}


@pytest.mark.parametrize(
    ("size", "text"), [(5, "5B"), (3 * 1024**2, "3.0M"), (7.5 * GIB, "7.5G"), (2048 * GIB, "2.0T")]
)
def test_rounded(size: float, text: str) -> None:
    """Sizes have one decimal."""
    assert rounded(int(size)) == text
