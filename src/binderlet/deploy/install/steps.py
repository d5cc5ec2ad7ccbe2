"""What is to be done for a service, in order, each step with its reason. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from binderlet.deploy.install import services as services_
from binderlet.deploy.install import units
from binderlet.deploy.install.actions import RELOAD, Action, Displaced, File, Fresh, Packages, Unit, User
from binderlet.deploy.install.services import USER, Services
from binderlet.deploy.install.wanted import CONFIG, CURRENT, STATE, Wanted, settings_file, web_ports

UNITS = PurePosixPath("/etc/systemd/system")
SYSCTL = PurePosixPath("/etc/sysctl.d/60-binderlet.conf")
RESTART = "restart"
"""The last step."""


FIREWALL = PurePosixPath("/etc/binderlet/firewall.nft")


@dataclass(frozen=True, slots=True)
class Machine:
    """What matters of the machine."""

    has_engine: bool
    """Whether Docker or Podman answers already."""
    available: frozenset[str] = frozenset()
    """Which of the packages that only some releases have, there are."""
    engine_group: str = "docker"
    """Whose members may use the engine's socket, by name; empty where only root may."""
    has_storage: bool = False
    """Whether settings from before name object storage."""
    has_own_settings: bool = False
    """Whether the settings file is there and was changed since it was written, or written by somebody else."""
    has_clock: bool = False
    """Whether something else than systemd keeps the time."""
    made_engine: bool = False
    """Whether an earlier run installed the engine."""
    ssh_ports: frozenset[int] = frozenset()
    """Where ssh listens for others than this machine."""


@dataclass(frozen=True, slots=True)
class Step:
    """Things that belong together."""

    name: str
    why: str
    actions: Sequence[Action]


def steps(wanted: Wanted, machine: Machine, program: Action) -> Iterator[Step]:
    """Give the steps, each of which may be done already."""
    services = Services(machine.engine_group, registry=machine.has_storage or wanted.has_storage)
    yield Step("packages", "HAProxy carries the visitors, git fetches, mmdebstrap makes the base image.", [_packages()])
    if machine.made_engine or not machine.has_engine:
        engine = [_live_restore(), _engine(machine), Unit("docker.service")]
        yield Step("engine", "Docker runs the sessions and builds the images.", engine)
    yield Step("program", "binderlet itself, with the exact versions of all that it needs.", [program])
    yield Step("user", "The service is no root, and owns its folder alone.", list(_user(services)))
    settings = _settings(wanted, keep=machine.has_own_settings)
    yield Step("settings", "Your file: once you change it, it is left alone.", [settings])
    yield Step("kernel", "Hundreds of sessions need more watches, processes and connections.", [_kernel()])
    if wanted.updates:
        yield Step(
            "updates", "Security updates come by themselves; logs stay below a gigabyte.", list(_updates(machine))
        )
    if wanted.swap:
        yield Step("swap", "Sessions that nobody uses rest there, and three times as many fit.", list(_swap()))
    if wanted.firewall:
        yield Step(
            "firewall", "From outside only ssh and the web reach this machine.", list(_firewall(wanted, machine))
        )
    yield Step("data path", "HAProxy starts with the machine and needs nothing else of it.", list(_data_path(services)))
    if services.registry:
        yield Step("registry", "It keeps images in your object storage.", list(_registry(services)))
    yield Step(
        "service", "It starts with the machine, and has memory that sessions cannot take.", list(_service(services))
    )
    # Whatever it reads when it starts.
    files = (CONFIG, CURRENT, UNITS / "binderlet.service")
    yield Step(
        RESTART, "What was changed takes effect; sessions and visitors go on.", [Fresh("binderlet.service", files)]
    )


def _packages() -> Action:
    names = ("python3", "python3-venv", "git", "git-lfs", "haproxy", "mmdebstrap", "ca-certificates", "zstd")
    return Packages((*names, "nftables", "kmod", "util-linux"))


def _live_restore() -> Action:
    # Security updates restart Docker: without this they would end every session.
    return File(PurePosixPath("/etc/docker/daemon.json"), '{"live-restore": true}\n', keep=True)


def _engine(machine: Machine) -> Action:
    # Newer releases of Debian split these out of docker.io.
    split = [name for name in ("docker-cli", "docker-buildx") if name in machine.available]
    return Packages(("docker.io", "iptables", *split))


def _user(services: Services) -> Iterator[Action]:
    yield User(USER, STATE)
    folders = PurePosixPath("/etc/tmpfiles.d/binderlet.conf")
    yield File(folders, services.folders, then=("systemd-tmpfiles", "--create", str(folders)))


def _settings(wanted: Wanted, *, keep: bool) -> Action:
    # It may hold secrets: for root and the service alone.
    return File(CONFIG, settings_file(wanted), mode=0o640, keep=keep, then=("chgrp", "--silent", USER, str(CONFIG)))


def _kernel() -> Action:
    # A container may not set some of them; 'binderlet doctor' says which are too small.
    return File(SYSCTL, units.SYSCTL, then=("sh", "-c", f"sysctl --ignore --quiet --load {SYSCTL} || true"))


def _updates(machine: Machine) -> Iterator[Action]:
    # Debian has one keeper of the time at once: installing another would remove the one that is there.
    yield Packages(("unattended-upgrades", *(() if machine.has_clock else ("systemd-timesyncd",))))
    yield File(PurePosixPath("/etc/apt/apt.conf.d/52binderlet"), units.UPDATES)
    yield File(
        PurePosixPath("/etc/systemd/journald.conf.d/binderlet.conf"),
        units.JOURNAL,
        then=("systemctl", "try-restart", "systemd-journald"),
    )


def _swap() -> Iterator[Action]:
    yield File(UNITS / "binderlet-swap.service", units.SWAP, then=RELOAD)
    yield Unit("binderlet-swap.service")


def _firewall(wanted: Wanted, machine: Machine) -> Iterator[Action]:
    unit = "binderlet-firewall.service"
    ports = {wanted.ssh_port, *machine.ssh_ports, *web_ports(wanted)}
    yield File(UNITS / unit, units.FIREWALL_UNIT, then=RELOAD)
    yield File(FIREWALL, units.firewall(ports), then=("systemctl", "try-restart", unit))
    yield Unit(unit)


def _unit(name: str, text: str, *, start: bool = True) -> Iterator[Action]:
    yield File(UNITS / name, text, then=RELOAD)
    if start:
        yield Unit(name)


def _data_path(services: Services) -> Iterator[Action]:
    yield Displaced("haproxy.service")
    yield File(UNITS / "binderlet.slice", services_.SLICE, then=RELOAD)
    yield from _unit("binderlet-haproxy.service", services.haproxy)


def _service(services: Services) -> Iterator[Action]:
    yield File(UNITS / services_.SESSIONS_SLICE, services_.SESSIONS, then=RELOAD)
    yield File(UNITS / "binderlet-builds.slice", services_.BUILDS, then=RELOAD)
    if services.engine_group:
        yield from _unit("binderlet-helper.service", services.helper, start=False)
        yield from _unit("binderlet-helper.socket", services.helper_socket)
    yield from _unit("binderlet-job@.service", services.job, start=False)
    yield from _unit("binderlet-job.socket", services.job_socket)
    yield from _unit("binderlet.service", services.control_plane)
    yield from _unit("binderlet-backup.service", services.backup, start=False)
    yield from _unit("binderlet-backup.timer", services_.BACKUP_TIMER)


def _registry(services: Services) -> Iterator[Action]:
    yield Packages(("docker-registry",))
    yield Displaced("docker-registry.service")
    yield from _unit("binderlet-registry.service", services.registry_unit)
