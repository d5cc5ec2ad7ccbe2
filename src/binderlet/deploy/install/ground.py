"""Looks at the machine that is to be installed on; reads only."""

from __future__ import annotations

import contextlib
import grp
import shutil
import stat
import tomllib
from collections.abc import Iterator

import psutil

from binderlet.deploy.install.host import Host
from binderlet.deploy.install.preflight import Ground
from binderlet.deploy.install.runner import asked_before, read_record
from binderlet.deploy.install.steps import Machine
from binderlet.deploy.install.wanted import CONFIG, STATE, Wanted, settings_file, unlike

DNS_TIMEOUT = 10
"""Seconds; without a network the system's own patience is minutes."""


SOCKETS = ("/var/run/docker.sock", "/run/podman/podman.sock")
CLOCKS = ("chronyd", "ntpd", "openntpd")
ROOT = 0
WRITE_AND_READ = stat.S_IRGRP | stat.S_IWGRP


def look(host: Host, wanted: Wanted) -> Ground:
    """Gather the facts."""
    ports = [int(str(wanted.settings.get("server.port", 80)))]
    ports += [int(str(wanted.settings.get("https.port", 443)))] if wanted.domain and wanted.https else []
    return Ground(
        system=system(host.read("/etc/os-release") or ""),
        disk_free=shutil.disk_usage(host.at("/")).free,
        memory=psutil.virtual_memory().total,
        holders=[(port, holder) for port in ports if (holder := holder_of(port))],
        domain=wanted.domain,
        addresses=sorted(addresses(host, wanted.domain)) if wanted.domain else (),
        mine=[each.address for interface in psutil.net_if_addrs().values() for each in interface],
        unlike=unlike(wanted, host.read(CONFIG) or "") if has_own_settings(host) else (),
    )


def machine(host: Host) -> Machine:
    """Give what the steps depend on."""
    names = {"docker-cli", "docker-buildx"}
    found = host.run(["apt-cache", "pkgnames", "docker-"]).out.split()
    sockets = [socket for socket in SOCKETS if host.exists(socket)]
    return Machine(
        bool(sockets),
        frozenset(names & set(found)),
        engine_group=group_of(host, sockets[0]) if sockets else "docker",
        has_storage=names_storage(host.read(CONFIG) or ""),
        has_own_settings=has_own_settings(host),
        has_clock=any(host.exists(f"/usr/sbin/{name}") for name in CLOCKS),
        made_engine=any(done.get("unit") == "docker.service" for done in read_record(host)),
        ssh_ports=ssh_ports(host),
    )


def has_own_settings(host: Host) -> bool:
    """Whether there is a settings file that is not word for word what the last run wrote."""
    text, before = host.read(CONFIG), asked_before(host)
    return text is not None and (before is None or text != settings_file(before))


def ssh_ports(host: Host) -> frozenset[int]:
    """Give the ports on which ssh is reached from outside, as far as is seen."""
    said = host.run(["sshd", "-T"]).out.splitlines()
    configured = {int(port) for word, _, port in (line.partition(" ") for line in said) if word == "port"}
    return frozenset(configured | {port for port, name in _listening() if name == "sshd"})


def _listening() -> Iterator[tuple[int, str]]:
    """Give each port that others may reach, and the name of its program."""
    for connection in psutil.net_connections(kind="tcp"):
        if connection.status != psutil.CONN_LISTEN or not connection.laddr or not connection.pid:
            continue
        if connection.laddr.ip in {"127.0.0.1", "::1"}:
            continue
        with contextlib.suppress(psutil.NoSuchProcess):
            yield connection.laddr.port, psutil.Process(connection.pid).name()


def group_of(host: Host, socket: str) -> str:
    """Name the group that may use a socket; empty where only root may, as with Podman, or the group has no name."""
    status = host.at(socket).stat()
    if status.st_mode & WRITE_AND_READ != WRITE_AND_READ or status.st_gid == ROOT:
        return ""
    try:
        return grp.getgrgid(status.st_gid).gr_name
    except KeyError:
        return ""


def names_storage(text: str) -> bool:
    """Whether settings name object storage; a file that is no TOML is said to be wrong elsewhere."""
    try:
        return bool(tomllib.loads(text).get("registry", {}).get("s3", {}).get("endpoint"))
    except (tomllib.TOMLDecodeError, AttributeError):
        return False


def system(text: str) -> tuple[str, str]:
    """Read distribution and version out of ``/etc/os-release``."""
    values = {key: value.strip('"') for key, _, value in (line.partition("=") for line in text.splitlines())}
    return values.get("ID", "unknown"), values.get("VERSION_ID", "")


def holder_of(port: int) -> str:
    """Name the program that listens on a TCP port of every address; empty where none does, or it is this service's."""
    for connection in psutil.net_connections(kind="tcp"):
        if connection.status != psutil.CONN_LISTEN or not connection.laddr or connection.laddr.port != port:
            continue
        if connection.laddr.ip not in {"0.0.0.0", "::"} or not connection.pid:  # noqa: S104 - compared
            continue
        process = psutil.Process(connection.pid)
        if not any(str(STATE) in part for part in process.cmdline()):
            return f"{process.name()} (process {connection.pid})"
    return ""


def addresses(host: Host, name: str) -> set[str]:
    """Give the addresses of a host name; none where it is not in the DNS, or that does not answer soon."""
    said = host.run(["timeout", str(DNS_TIMEOUT), "getent", "ahosts", name])
    return {line.split()[0] for line in said.out.splitlines() if line.strip()} if said.code == 0 else set()
