"""What is to be done for a service, in order, each step with its reason. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from binderlet.deploy.install import units
from binderlet.deploy.install.actions import Action, File, Packages, Unit
from binderlet.deploy.install.wanted import CONFIG, Wanted, settings_file

UNITS = PurePosixPath("/etc/systemd/system")
SYSCTL = PurePosixPath("/etc/sysctl.d/60-binderlet.conf")
RELOAD = ("systemctl", "daemon-reload")


@dataclass(frozen=True, slots=True)
class Machine:
    """What matters of the machine."""

    has_engine: bool
    """Whether Docker or Podman answers already."""
    available: frozenset[str] = frozenset()
    """Which of the packages that only some releases have, there are."""


@dataclass(frozen=True, slots=True)
class Step:
    """Things that belong together."""

    name: str
    why: str
    actions: Sequence[Action]


def steps(wanted: Wanted, machine: Machine, program: Action) -> Iterator[Step]:
    """Give the steps, each of which may be done already."""
    yield Step("packages", "HAProxy carries the visitors, git fetches, mmdebstrap makes the base image.", [_packages()])
    if not machine.has_engine:
        engine = [_engine(machine), Unit("docker.service")]
        yield Step("engine", "Docker runs the sessions and builds the images.", engine)
    yield Step("program", "binderlet itself, with the exact versions of all that it needs.", [program])
    yield Step("settings", "Your file: it is written once and then left alone.", [_settings(wanted)])
    yield Step("kernel", "Hundreds of sessions need more watches, processes and connections.", [_kernel()])
    if wanted.updates:
        yield Step("updates", "Security updates come by themselves; logs stay below a gigabyte.", list(_updates()))
    if wanted.swap:
        yield Step("swap", "Sessions that nobody uses rest there, and three times as many fit.", list(_swap()))
    if wanted.firewall:
        yield Step("firewall", "From outside only ssh and the web reach this machine.", list(_firewall(wanted)))
    yield Step("service", "It starts with the machine, and before sessions can take its memory.", list(_service()))


def _packages() -> Action:
    names = ("python3", "python3-venv", "git", "git-lfs", "haproxy", "mmdebstrap", "ca-certificates", "zstd")
    return Packages((*names, "nftables", "kmod", "util-linux"))


def _engine(machine: Machine) -> Action:
    # Newer releases of Debian split these out of docker.io.
    split = [name for name in ("docker-cli", "docker-buildx") if name in machine.available]
    return Packages(("docker.io", "iptables", *split))


def _settings(wanted: Wanted) -> Action:
    return File(CONFIG, settings_file(wanted), mode=0o640, keep=True)


def _kernel() -> Action:
    # A container may not set some of them; 'binderlet doctor' says which are too small.
    return File(SYSCTL, units.SYSCTL, then=("sh", "-c", f"sysctl --ignore --quiet --load {SYSCTL} || true"))


def _updates() -> Iterator[Action]:
    yield Packages(("unattended-upgrades", "systemd-timesyncd"))
    yield File(PurePosixPath("/etc/apt/apt.conf.d/52binderlet"), units.UPDATES)
    yield File(
        PurePosixPath("/etc/systemd/journald.conf.d/binderlet.conf"),
        units.JOURNAL,
        then=("systemctl", "try-restart", "systemd-journald"),
    )


def _swap() -> Iterator[Action]:
    yield File(UNITS / "binderlet-swap.service", units.SWAP, then=RELOAD)
    yield Unit("binderlet-swap.service")


def _firewall(wanted: Wanted) -> Iterator[Action]:
    yield File(PurePosixPath("/etc/binderlet/firewall.nft"), units.firewall(wanted.ssh_port))
    yield File(UNITS / "binderlet-firewall.service", units.FIREWALL_UNIT, then=RELOAD)
    yield Unit("binderlet-firewall.service")


def _service() -> Iterator[Action]:
    yield File(UNITS / "binderlet.slice", units.SLICE, then=RELOAD)
    yield File(UNITS / "binderlet.service", units.SERVICE, then=RELOAD)
    yield Unit("binderlet.service")
