"""What is wrong with this machine, judged from facts alone; ``doctor_probes`` gathers them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from binderlet.config.units import format_bytes
from binderlet.finding import Finding, Level

GIB = 1024**3
HAPROXY_OLDEST = (2, 4)
"""The first with all that the configuration uses; Debian 12 has 2.6."""
INOTIFY_INSTANCES = 512
"""Each Jupyter server takes one or two."""
INOTIFY_WATCHES = 65536
FILE_DESCRIPTORS = 16384
"""HAProxy takes two per connection."""
MEMORY_OF_SERVICE = GIB
"""What the service and the system should have beside the sessions."""
GOOD_DRIVERS = ("overlay2", "overlay", "overlayfs", "btrfs", "zfs", "fuse-overlayfs")


@dataclass(frozen=True, slots=True)
class EngineFacts:
    """What the engine said of itself; ``error`` where it did not."""

    place: str = ""
    name: str = ""
    """``Docker 20.10.24``"""
    storage_driver: str = ""
    error: str = ""
    hint: str = ""
    buildx: str = ""
    """Version of the buildx plugin; empty where there is none."""
    old_client: str = ""
    """A docker command older than 23, which can ask for BuildKit without buildx."""


@dataclass(frozen=True, slots=True)
class PortFacts:
    """Who has the port that visitors use."""

    address: str
    free: bool
    holder: str = ""
    """The program that listens there, where it can be known."""
    ours: bool = False
    """Whether it is the HAProxy of this service."""


@dataclass(frozen=True, slots=True)
class Reach:
    """Whether something outside answers."""

    name: str
    url: str
    error: str = ""
    setting: str = ""
    """The setting that names another."""


@dataclass(frozen=True, slots=True)
class Facts:
    """All that was seen on this machine; sizes in bytes, None where it could not be known."""

    needs_engine: bool
    engine: EngineFacts
    programs: Mapping[str, str | None]
    """Name to version; None where it is not installed."""
    disk_path: str
    disk_free: int
    disk_least: int
    """Below this, builds are refused."""
    memory: int
    swap: int
    session_memory: int
    inotify_instances: int | None
    inotify_watches: int | None
    file_descriptors: int
    port: PortFacts
    clock_synchronised: bool | None
    places: str = ""
    """How many sessions fit and what limits them, in words."""
    left_out: tuple[str, ...] = ()
    """What this machine's network settings have that containers cannot use."""
    reaches: tuple[Reach, ...] | None = None
    """None where it was not asked for."""
    databases: tuple[Finding, ...] = ()
    """Those of the state folder that do not fit this program."""
    cluster: tuple[Finding, ...] = ()
    """What was found at the cluster that sessions run in; its own judgement."""


def evaluate(facts: Facts) -> list[Finding]:
    """Judge the facts, in the order of a launch."""
    return [
        *facts.cluster,
        *_engine(facts),
        *_programs(facts.programs),
        _disk(facts),
        *_memory(facts),
        *_limits(facts),
        _port(facts.port),
        _clock(facts.clock_synchronised),
        *facts.databases,
        *_network(facts),
    ]


def _engine(facts: Facts) -> Iterator[Finding]:
    engine = facts.engine
    if not facts.needs_engine:
        yield Finding("engine", "ok", "none is needed: engine.kind is fake")
        return
    if engine.error:
        yield Finding("engine", "fail", engine.error, engine.hint or "apt-get install docker.io")
        return
    yield Finding("engine", "ok", f"{engine.name} at {engine.place}")
    if engine.storage_driver in GOOD_DRIVERS:
        yield Finding("storage", "ok", f"driver {engine.storage_driver}")
    elif engine.storage_driver:
        seen = f"driver {engine.storage_driver} copies whole images: starts are slow and take much disk"
        yield Finding("storage", "warn", seen, 'put "storage-driver": "overlay2" into /etc/docker/daemon.json')
    yield _buildkit(engine)


def _buildkit(engine: EngineFacts) -> Finding:
    if engine.name.startswith("Podman"):
        return Finding("buildkit", "ok", "Podman builds images by itself")
    if engine.buildx:
        return Finding("buildkit", "ok", f"by buildx {engine.buildx}")
    if engine.old_client:
        return Finding("buildkit", "ok", f"by the docker command {engine.old_client}, which needs no buildx")
    mend = "apt-get install docker-buildx, or docker-buildx-plugin from Docker's own packages"
    return Finding("buildkit", "fail", "no docker command here can ask for BuildKit", mend)


PROGRAMS: Mapping[str, tuple[Level, str, str]] = {
    "haproxy": ("fail", "it carries all traffic", "apt-get install haproxy"),
    "git": ("fail", "it fetches repositories", "apt-get install git"),
    "git-lfs": ("warn", "large files of repositories stay pointers", "apt-get install git-lfs"),
    "mmdebstrap": (
        "warn",
        "it makes the base image where there is none",
        "apt-get install mmdebstrap, or set builder.base_image",
    ),
    "nft": ("warn", "sessions reach this machine and its private network", "apt-get install nftables"),
}
"""How bad it is that a program is missing, why, and the mend."""


def _programs(programs: Mapping[str, str | None]) -> Iterator[Finding]:
    for name, (level, why, mend) in PROGRAMS.items():
        if name not in programs:
            continue  # it is not needed here
        version = programs[name]
        if version is None:
            yield Finding(name, level, f"not installed: {why}", mend)
        elif name == "haproxy" and _numbers(version) < HAPROXY_OLDEST:
            oldest = ".".join(map(str, HAPROXY_OLDEST))
            yield Finding(
                name, "fail", f"{version} is too old: {oldest} is needed", "use Debian 12, Ubuntu 22.04 or newer"
            )
        else:
            yield Finding(name, "ok", version)


def _numbers(version: str) -> tuple[int, ...]:
    found = re.search(r"\d+(?:\.\d+)*", version)
    return tuple(map(int, found[0].split("."))) if found else HAPROXY_OLDEST


def _disk(facts: Facts) -> Finding:
    seen = f"{rounded(facts.disk_free)} free at {facts.disk_path}"
    mend = "docker image prune --all; builder.min_free_disk is the limit"
    if facts.disk_free < facts.disk_least:
        return Finding("disk", "fail", f"{seen}: builds are refused below {format_bytes(facts.disk_least)}", mend)
    if facts.disk_free < 2 * facts.disk_least:
        return Finding("disk", "warn", f"{seen}: near the {format_bytes(facts.disk_least)} that builds need", mend)
    return Finding("disk", "ok", seen)


def _memory(facts: Facts) -> Iterator[Finding]:
    seen = f"{rounded(facts.memory)}; one session may take {format_bytes(facts.session_memory)}"
    if facts.memory < facts.session_memory + MEMORY_OF_SERVICE:
        yield Finding("memory", "warn", f"{seen}: not even one fits well", "set session.memory lower")
    else:
        yield Finding("memory", "ok", seen)
    if facts.swap:
        yield Finding("swap", "ok", rounded(facts.swap))
    else:
        seen = "none: hibernation is off, quiet sessions keep their memory, so fewer fit"
        yield Finding("swap", "warn", seen, "sudo binderlet swap setup")
    if facts.places:
        yield Finding("places", "ok", facts.places)


def _limits(facts: Facts) -> Iterator[Finding]:
    for name, value, least in (
        ("inotify instances", facts.inotify_instances, INOTIFY_INSTANCES),
        ("inotify watches", facts.inotify_watches, INOTIFY_WATCHES),
    ):
        key = f"fs.inotify.max_user_{name.removeprefix('inotify ')}"
        if value is not None and value < least:
            mend = f"echo {key}={8 * least} > /etc/sysctl.d/90-binderlet.conf && sysctl --system"
            yield Finding(name, "warn", f"{value} for each user: sessions will fail to watch files", mend)
        elif value is not None:
            yield Finding(name, "ok", str(value))
    if facts.file_descriptors < FILE_DESCRIPTORS:
        seen = f"{facts.file_descriptors} for each process: about half as many connections"
        yield Finding("file descriptors", "warn", seen, f"ulimit -n {4 * FILE_DESCRIPTORS}, or LimitNOFILE= in systemd")
    else:
        yield Finding("file descriptors", "ok", str(facts.file_descriptors))


def _port(port: PortFacts) -> Finding:
    if port.free:
        return Finding("port", "ok", f"{port.address} is free")
    holder = f" by {port.holder}" if port.holder else ""
    if port.ours:
        return Finding("port", "ok", f"{port.address} is held{holder}, which is this service's")
    return Finding("port", "fail", f"{port.address} is held{holder}", "stop that program, or set server.port")


def _clock(synchronised: bool | None) -> Finding:  # noqa: FBT001 - None is the third answer
    if synchronised is None:
        return Finding("clock", "ok", "whether it is synchronised cannot be seen here")
    if synchronised:
        return Finding("clock", "ok", "synchronised")
    return Finding("clock", "warn", "not synchronised: certificates and tokens may fail", "timedatectl set-ntp true")


def _network(facts: Facts) -> Iterator[Finding]:
    for sentence in facts.left_out:
        mend = "set network.index_url or network.http_proxy where builds need it"
        yield Finding("network settings", "warn", f"not passed to builds: {sentence}", mend)
    for reach in facts.reaches or ():
        if reach.error:
            yield Finding(f"reach {reach.name}", "fail", f"{reach.url}: {reach.error}", f"set {reach.setting}")
        else:
            yield Finding(f"reach {reach.name}", "ok", reach.url)


def rounded(size: int) -> str:
    """Write a size with one decimal: 7.5G."""
    for unit, factor in (("T", 1024 * GIB), ("G", GIB), ("M", 1024**2)):
        if size >= factor:
            return f"{size / factor:.1f}{unit}"
    return f"{size}B"
