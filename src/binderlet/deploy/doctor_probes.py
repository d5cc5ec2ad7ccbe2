"""Gathers the facts that ``doctor`` judges. A fact that cannot be had is None or an error text, never an exception."""

from __future__ import annotations

import http.client
import importlib.util
import json
import os
import re
import resource
import shutil
import socket
import ssl
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psutil

from binderlet.builder.base_recipe import DEBIAN_MIRROR
from binderlet.clients.docker import find_engine
from binderlet.clients.memory import read_hardware
from binderlet.config.network import NetworkEnvironment, network_environment, read_text
from binderlet.config.redact import redact_urls
from binderlet.config.schema import Settings
from binderlet.database import too_new
from binderlet.deploy.cluster_check import look_at_cluster
from binderlet.deploy.databases import look
from binderlet.deploy.doctor import EngineFacts, Facts, PortFacts, Reach
from binderlet.deploy.k3s import look_at_node
from binderlet.errors import BinderletError, EngineUnavailable
from binderlet.finding import Finding
from binderlet.sessions.capacity import capacity, planned

TIMEOUT = 5.0
"""Seconds for one probe."""
OLD_CLIENT_BEFORE = 23
"""Docker commands from this version on need the buildx plugin to ask for BuildKit."""
VERSION_ARGUMENTS = {
    "haproxy": "-v",
    "git": "--version",
    "git-lfs": "version",
    "mmdebstrap": "--version",
    "nft": "--version",
}
VERSION = re.compile(r"\d+\.\d+[\w.+-]*")
ADMINISTRATORS = Path("/usr/sbin")
"""Where HAProxy is, which is not on every user's search path."""
OTHER_FOLDERS = ("/usr/bin",)
"""Where a distribution's docker command is, when another comes first on the search path."""
INDEX_TIMEOUT = 30.0
"""Seconds for pip to ask its index."""
INDEX_SETTING = "network.index_url or network.https_proxy"


def gather(settings: Settings, *, network: bool = False, environ: Mapping[str, str] | None = None) -> Facts:
    """Look at this machine; with ``network``, also at what builds need from outside.

    Raises:
        ConfigError: the network settings name a certificate file that cannot be read.
    """
    environ = os.environ if environ is None else environ
    reachable = network_environment(settings.network, environ, read_text)
    place = existing(settings.paths.state)
    return Facts(
        needs_engine=settings.engine.kind != "fake",
        engine=engine_facts(settings, environ),
        programs=programs(settings),
        disk_path=str(place),
        disk_free=shutil.disk_usage(place).free,
        disk_least=settings.builder.min_free_disk,
        memory=psutil.virtual_memory().total,
        swap=psutil.swap_memory().total,
        session_memory=settings.session.memory,
        places=places(settings),
        inotify_instances=number_in(Path("/proc/sys/fs/inotify/max_user_instances")),
        inotify_watches=number_in(Path("/proc/sys/fs/inotify/max_user_watches")),
        file_descriptors=resource.getrlimit(resource.RLIMIT_NOFILE)[1],
        port=port_facts(settings),
        clock_synchronised=clock_synchronised(),
        left_out=reachable.left_out,
        reaches=tuple(reaches(settings, reachable)) if network else None,
        databases=tuple(databases(settings.paths.state)),
        cluster=cluster(settings),
    )


def programs(settings: Settings) -> dict[str, str | None]:
    """Give the programs that are needed, each with its version, or None where it is not installed."""
    holds = settings.engine.kind == "docker" and settings.egress.mode != "off"
    wanted = {name: argument for name, argument in VERSION_ARGUMENTS.items() if holds or name != "nft"}
    return {name: program_version(name, argument) for name, argument in wanted.items()}


def databases(state: Path) -> Iterator[Finding]:
    """Give the databases that the service cannot use as they are; it serves without them."""
    try:
        for found in look(state):
            if found.outlook == "newer":
                error = too_new(found.schema, found.path, found.version)
                yield Finding(found.path.name, "fail", error.message, error.hint)
    except BinderletError as error:
        yield Finding("databases", "fail", error.message, error.hint)


def cluster(settings: Settings) -> tuple[Finding, ...]:
    """Look at the cluster that sessions run in, and at this machine where it is a K3s node of ours."""
    if settings.engine.kind != "kubernetes":
        return ()
    return (*look_at_node(settings, psutil.virtual_memory().total), *look_at_cluster(settings))


def places(settings: Settings, proc: Path = Path("/proc")) -> str:
    """Say how many sessions fit here and what limits them; nothing where that cannot be known."""
    if settings.engine.kind == "kubernetes":
        return ""  # the cluster has them
    if settings.limits.sessions:
        return f"{settings.limits.sessions} sessions, limited by limits.sessions"
    try:
        return str(capacity(read_hardware(proc), planned(settings.session.memory)))
    except (OSError, KeyError):
        return ""


def existing(path: Path) -> Path:
    """Give the path, or the nearest folder above it that is there."""
    path = path.absolute()
    return next(place for place in (path, *path.parents) if place.exists())


def number_in(path: Path) -> int | None:
    """Give the number that a file of the kernel holds."""
    try:
        return int(path.read_text(encoding="ascii"))
    except (OSError, ValueError):
        return None


def run(*command: str) -> str | None:
    """Give what a program prints, or None where it is not installed, fails, or takes too long."""
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=TIMEOUT,
            check=True,
            stdin=subprocess.DEVNULL,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout or done.stderr


def program_version(name: str, argument: str) -> str | None:
    """Give a program's version; its first line where there is no number in it; None where it is not installed."""
    program = shutil.which(name) or shutil.which(ADMINISTRATORS / name)
    if program is None:
        return None
    text = run(str(program), argument)
    if text is None:
        return "installed, but it does not tell its version"
    found = VERSION.search(text)
    return found[0] if found else text.partition("\n")[0]


def engine_facts(settings: Settings, environ: Mapping[str, str]) -> EngineFacts:
    """Ask the engine what it is."""
    if settings.engine.kind == "fake":
        return EngineFacts()
    try:
        place = find_engine(settings.engine, environ)
    except BinderletError as error:
        return EngineFacts(error=error.message, hint=error.hint)
    try:
        version, info = engine_get(place, "/version"), engine_get(place, "/info")
    except (OSError, http.client.HTTPException, ValueError) as error:
        hint = EngineUnavailable.default_hint
        if isinstance(error, PermissionError):
            hint = "usermod -aG docker $USER, then log in again; or use sudo"
        return EngineFacts(place=place, error=f"{place} does not answer: {error}", hint=hint)
    parts = [str(part.get("Name", "")) for part in version.get("Components") or []]
    name = "Podman" if any("podman" in part.lower() for part in parts) else "Docker"
    buildx = VERSION.search(run("docker", "buildx", "version") or "")
    return EngineFacts(
        place=place.removeprefix("unix://"),
        name=f"{name} {version.get('Version', '')}",
        storage_driver=str(info.get("Driver", "")),
        buildx=buildx[0] if buildx else "",
        old_client=old_client(),
    )


def engine_get(place: str, path: str) -> dict[str, Any]:
    """Make one call to the engine.

    Raises:
        OSError: it does not answer.
        HTTPException: it does not speak HTTP.
        ValueError: it does not speak JSON.
    """
    address = urlsplit(place)
    connection = http.client.HTTPConnection(address.hostname or "localhost", address.port or 2375, timeout=TIMEOUT)
    if address.scheme == "unix":
        connection.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        connection.sock.settimeout(TIMEOUT)
    try:
        if address.scheme == "unix":
            connection.sock.connect(address.path)
        connection.request("GET", path)
        answer = json.loads(connection.getresponse().read())
    finally:
        connection.close()
    if not isinstance(answer, dict):
        raise ValueError("that is not a container engine")  # noqa: TRY004 - what json raises for other nonsense
    return answer


def old_client() -> str:
    """Give the version of a docker command that can ask for BuildKit without buildx, wherever on the machine it is."""
    folders = [*os.environ.get("PATH", "").split(os.pathsep), *OTHER_FOLDERS]
    for folder in dict.fromkeys(folders):
        program = Path(folder, "docker")
        if program.is_file():
            found = VERSION.search(run(str(program), "--version") or "")
            if found and int(found[0].partition(".")[0]) < OLD_CLIENT_BEFORE:
                return found[0]
    return ""


def port_facts(settings: Settings) -> PortFacts:
    """Try the port that visitors use, and find who has it."""
    host, port = settings.server.host, settings.server.port
    address = f"{host}:{port}"
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as attempt:
        attempt.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            attempt.bind((host, port))
        except OSError as error:
            holder, ours = holder_of(port, settings.paths.state)
            return PortFacts(address, free=False, holder=holder or error.strerror or "", ours=ours)
    return PortFacts(address, free=True)


def holder_of(port: int, state: Path) -> tuple[str, bool]:
    """Give the program that listens on a port, and whether its configuration is in our state folder."""
    try:
        connections = psutil.net_connections(kind="tcp")
    except psutil.AccessDenied:
        return "", False
    listening = {
        connection.pid
        for connection in connections
        if connection.pid and connection.status == psutil.CONN_LISTEN and connection.laddr[1:2] == (port,)
    }
    for pid in sorted(listening):
        try:
            process = psutil.Process(pid)
            name, command, folder = process.name(), process.cmdline(), process.cwd()
        except psutil.Error:
            continue  # it ended just now, or is not ours to look at
        inside = any(Path(folder, part).is_relative_to(state.absolute()) for part in command[1:] if "/" in part)
        return f"{name} (process {pid})", inside
    return "", False


def clock_synchronised() -> bool | None:
    """Tell whether the clock is synchronised, where systemd knows."""
    answer = run("timedatectl", "show", "--property=NTPSynchronized", "--value")
    return {"yes": True, "no": False}.get((answer or "").strip())


def reaches(settings: Settings, network: NetworkEnvironment) -> Iterator[Reach]:
    """Try what builds and launches need from outside."""
    builder, gh = settings.builder, settings.providers.gh
    targets = []
    if network.index_url:
        targets.append(("package index", network.index_url, INDEX_SETTING))
    elif (error := default_index_error(network)) is not None:
        yield Reach("package index", "pip's own", error, INDEX_SETTING)
    targets.append(("Debian mirror", builder.base_mirror or DEBIAN_MIRROR, "builder.base_mirror or network.http_proxy"))
    if gh.enabled:
        place = gh.base_url or f"https://{gh.hostname}/"
        targets.append(("gh repositories", place, "network.https_proxy, or providers.gh.enabled = false"))
    for name, url, setting in targets:
        yield Reach(name, redact_urls(url), reach_error(url, network), setting)


def default_index_error(network: NetworkEnvironment) -> str | None:
    """Let pip ask its own index with what builds get; None where there is no pip that could tell."""
    if importlib.util.find_spec("pip") is None:
        return None
    plain = {"PIP_CONFIG_FILE": os.devnull, "PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_RETRIES": "0"}
    bundle = str(network.ca_bundle) if network.ca_bundle else ""
    try:
        done = subprocess.run(
            [sys.executable, "-m", "pip", "index", "versions", "pip"],
            env=plain | network.variables(bundle),
            capture_output=True,
            text=True,
            errors="replace",
            timeout=INDEX_TIMEOUT,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return "it does not answer in time"
    return "" if done.returncode == 0 else redact_urls(done.stderr.strip().rpartition("\n")[2]) or "pip cannot read it"


def reach_error(url: str, network: NetworkEnvironment) -> str:
    """Give why a URL cannot be reached; empty where something answers, whatever it says."""
    proxies = {"http": network.http_proxy, "https": network.https_proxy}
    trusted = ssl.create_default_context(cafile=str(network.ca_bundle) if network.ca_bundle else None)
    opener = urllib.request.build_opener(
        urllib.request.ProxyHandler({scheme: proxy for scheme, proxy in proxies.items() if proxy}),
        urllib.request.HTTPSHandler(context=trusted),
    )
    try:
        with opener.open(urllib.request.Request(url, method="HEAD"), timeout=TIMEOUT):  # noqa: S310 - operator's URL
            return ""
    except urllib.error.HTTPError as error:
        error.close()
        return ""
    except urllib.error.URLError as error:
        if isinstance(error.reason, socket.gaierror):
            return f"{urlsplit(url).hostname} cannot be looked up: {error.reason.strerror}"
        return redact_urls(str(error.reason))
    except (OSError, http.client.HTTPException, ValueError) as error:
        return redact_urls(str(error))
