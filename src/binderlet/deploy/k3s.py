"""K3s on a bare machine, with settings that suit sessions: which files it gets, and how its own installer is run.

What the files say is decided by pure functions of this machine's memory and our settings; ``apply`` writes what
differs, so that it may run again at any time. K3s is restarted only where something changed; its pods go on meanwhile.
"""

from __future__ import annotations

import os
import subprocess
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any, Literal

import yaml

from binderlet.config.schema import Settings
from binderlet.errors import ConfigError, LaunchFailed, ProviderUnavailable
from binderlet.finding import Finding
from binderlet.images.shelf import host_of, placed

INSTALLER = "https://get.k3s.io"
SYSTEM_PODS = 20
"""Pods of the cluster's own on one node."""
MOST_PODS = 500
"""On one node: more are slow to watch over, whatever memory there is."""
FEWEST_PODS = 60
NETWORK_BITS = 22
"""Of each node's network: a thousand addresses, where the default has 254."""
CONFIG = Path("/etc/rancher/k3s")
MANIFESTS = Path("/var/lib/rancher/k3s/server/manifests")
CHART = "binderlet-chart.yaml"
SYSCTL = Path("/etc/sysctl.d/90-binderlet-k3s.conf")
NAMESPACE = "binderlet-sessions"
Role = Literal["server", "agent"]

PROGRAM = Path("/usr/local/bin/k3s")
IMAGES = Path("/var/lib/rancher/k3s/agent/images/k3s-airgap-images.tar.zst")
INSTALL_SCRIPT = "install.sh"
AIR_GAP: Mapping[str, tuple[Path | None, str]] = {
    "k3s": (PROGRAM, "the program of a release, of this machine's architecture"),
    IMAGES.name: (IMAGES, "its images, of the same release and architecture (k3s-airgap-images-ARCH.tar.zst)"),
    INSTALL_SCRIPT: (None, f"the text of {INSTALLER}"),
}
"""What a folder has for a machine without internet: where each file goes, and what it is."""


@dataclass(frozen=True, slots=True)
class File:
    """One file as it must be."""

    path: Path
    text: str
    mode: int = 0o644


@dataclass(frozen=True, slots=True)
class Join:
    """The cluster that a node joins."""

    server: str
    """``https://ADDRESS:6443``."""
    token: str


def max_pods(memory: int, request: int) -> int:
    """Give how many pods a node of that memory may have, in bytes, when each session keeps ``request``."""
    return max(FEWEST_PODS, min(MOST_PODS, memory // max(request, 1) + SYSTEM_PODS))


def files(settings: Settings, memory: int, join: Join | None = None, *, chart: str = "") -> list[File]:
    """Give the files of a server, or of a node that joins one; ``memory`` is the machine's, in bytes.

    ``chart`` is what a server runs binderlet itself by; without it the cluster is prepared for sessions alone.
    """
    found = [
        File(CONFIG / "config.yaml", _yaml(config(join, inside=bool(chart))), 0o600),
        File(CONFIG / "kubelet.yaml", _yaml(kubelet(settings, memory))),
        File(SYSCTL, sysctl()),
    ]
    if mirrors := registries(settings):
        found.append(File(CONFIG / "registries.yaml", _yaml(mirrors), 0o600))
    if join is None:
        name = CHART if chart else "binderlet.yaml"
        found.append(File(MANIFESTS / name, chart or manifests(), 0o600))
    return found


def config(join: Join | None = None, *, inside: bool = False) -> dict[str, Any]:
    """Give K3s's own settings; with ``inside`` HAProxy is in the cluster, too, and K3s leads a node's ports to it."""
    common = {"kubelet-arg": [f"config={CONFIG / 'kubelet.yaml'}"]}
    if join is not None:
        return {"server": join.server, "token": join.token, **common}
    return {
        # HAProxy serves visitors, and nothing else takes ports of the machine.
        "disable": ["traefik"] if inside else ["traefik", "servicelb"],
        "write-kubeconfig-mode": "0600",
        "secrets-encryption": True,
        "kube-controller-manager-arg": [f"node-cidr-mask-size={NETWORK_BITS}"],
        **common,
    }


def kubelet(settings: Settings, memory: int) -> dict[str, Any]:
    """Give the kubelet's settings."""
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "maxPods": max_pods(memory, min(settings.kubernetes.memory_request, settings.session.memory)),
        "podPidsLimit": settings.session.pids,
        # Images are what fills disks here: those that nobody used longest go in time.
        "imageGCHighThresholdPercent": 75,
        "imageGCLowThresholdPercent": 60,
        # Sessions that nobody uses belong in swap.
        "failSwapOn": False,
        "memorySwap": {"swapBehavior": "LimitedSwap"},
        "serializeImagePulls": False,
    }


def registries(settings: Settings) -> dict[str, Any]:
    """Give how nodes reach the registry that sessions' images come from, where that is not by HTTPS without a password.

    A registry of this machine itself has no HTTPS; user, password and scheme of others are those of ``registry.url``.
    """
    tier = settings.registry
    scheme, _, rest = tier.url.partition("://")
    host = host_of(placed(tier.url, settings.builder.image_prefix))
    if settings.kubernetes.delivery != "push" or not host:
        return {}
    is_tier = rest.partition("/")[0] == host
    is_plain = host.startswith(("localhost", "127.")) or (is_tier and scheme == "http")
    more: dict[str, Any] = {}
    if is_tier and tier.username:
        more["auth"] = {"username": tier.username, "password": tier.password.get_secret_value()}
    if settings.network.ca_bundle and not is_plain:
        more["tls"] = {"ca_file": settings.network.ca_bundle}
    found: dict[str, Any] = {"mirrors": {host: {"endpoint": [f"http://{host}"]}}} if is_plain else {}
    return found | ({"configs": {host: more}} if more else {})


def sysctl() -> str:
    """Give kernel settings: each session watches files, and a thousand of them more than the kernel's default lets."""
    wanted = {"fs.inotify.max_user_instances": 65536, "fs.inotify.max_user_watches": 4194304}
    return "".join(f"{name} = {value}\n" for name, value in wanted.items())


def manifests() -> str:
    """Give what the cluster is prepared with; K3s applies it by itself."""
    return (resources.files("binderlet.deploy") / "manifests" / "binderlet.yaml").read_text(encoding="utf-8")


def our_settings() -> str:
    """Give what a server's ``binderlet.toml`` says afterwards."""
    return f"""\
[engine]
kind = "kubernetes"

[kubernetes]
kubeconfig = "{CONFIG / "k3s.yaml"}"
namespace = "{NAMESPACE}"
priority_class = "binderlet-session"
delivery = "import"
"""


def changed(wanted: Sequence[File], root: Path = Path("/")) -> list[File]:
    """Give the files that are not as they must be."""
    return [file for file in wanted if not _is_there(_below(root, file.path), file)]


def look_at_node(settings: Settings, memory: int, root: Path = Path("/")) -> list[Finding]:
    """See whether this machine's K3s has the settings it should have; nothing where there is none, or not for us."""
    try:
        ours = yaml.safe_load(_below(root, CONFIG / "config.yaml").read_text(encoding="utf-8"))
    except OSError:
        return []
    join = Join(str(ours["server"]), str(ours.get("token", ""))) if "server" in ours else None
    # What the chart was given is its own business: it is not made again here, as the image is not known.
    chart = _read(_below(root, MANIFESTS / CHART))
    other = [str(file.path) for file in changed(files(settings, memory, join, chart=chart), root)]
    if not other:
        return [Finding("node", "ok", "K3s's settings are as they should be")]
    again = "binderlet k3s install" if join is None else f"binderlet k3s join {join.server}"
    return [Finding("node", "warn", f"other than these settings say: {', '.join(other)}", f"{again}, once more")]


def _read(path: Path) -> str:
    return path.read_text(encoding="utf-8") if path.exists() else ""


def _below(root: Path, path: Path) -> Path:
    return root / path.relative_to("/")


def _is_there(path: Path, file: File) -> bool:
    try:
        return path.read_text(encoding="utf-8") == file.text and path.stat().st_mode & 0o777 == file.mode
    except OSError:
        return False


def apply(wanted: Sequence[File], root: Path = Path("/")) -> None:
    """Write files, each in one step.

    Raises:
        ConfigError: one cannot be written.
    """
    for file in wanted:
        path = _below(root, file.path)
        new = path.with_name(f".{path.name}.new")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            new.unlink(missing_ok=True)
            new.touch(mode=file.mode)
            new.chmod(file.mode)
            new.write_text(file.text, encoding="utf-8")
            new.replace(path)
        except OSError as error:
            raise ConfigError(
                f"{path} cannot be written: {error.strerror}.", hint="Setting up K3s needs root: use sudo."
            ) from error


def fetch_installer(target: Path, url: str = INSTALLER) -> None:
    """Download K3s's own installer.

    Raises:
        ProviderUnavailable: it cannot be had, or is no shell program.
    """
    try:
        with urllib.request.urlopen(url, timeout=60) as answer:  # noqa: S310 - the URL is ours, or a test's
            text = answer.read()
    except OSError as error:
        raise ProviderUnavailable(
            f"K3s's installer cannot be downloaded from {url}: {error}.",
            hint="Without internet: 'binderlet k3s install --from FOLDER'; 'binderlet k3s files' lists what is in it.",
        ) from error
    if not text.startswith(b"#!"):
        raise ProviderUnavailable(f"What {url} gave is no installer.", hint="Is a proxy's page in between?")
    target.write_bytes(text)


@dataclass(frozen=True, slots=True)
class Wish:
    """What the installer is to do; with none of these it takes the newest stable release."""

    version: str = ""
    """``v1.33.4+k3s1``."""
    channel: str = ""
    """``stable``, ``latest`` or a line of releases such as ``v1.33``; where there is no version."""
    download: bool = True
    restart: bool = False
    """Also where it finds nothing new: it looks at the program and its unit, not at settings."""

    def variables(self, role: Role) -> dict[str, str]:
        """Give it as the installer's environment variables."""
        wanted = {
            "INSTALL_K3S_EXEC": role,
            "INSTALL_K3S_VERSION": self.version,
            "INSTALL_K3S_CHANNEL": "" if self.version else self.channel,
            "INSTALL_K3S_SKIP_DOWNLOAD": "" if self.download else "true",
            "INSTALL_K3S_FORCE_RESTART": "true" if self.restart else "",
        }
        return {name: value for name, value in wanted.items() if value}


def run_installer(
    installer: Path, role: Role, wish: Wish | None = None, *, environment: Mapping[str, str] | None = None
) -> None:
    """Run K3s's own installer, whose output goes to ours; it starts K3s, or restarts it where something changed.

    Raises:
        LaunchFailed: it failed; its output says why.
    """
    variables = {**(os.environ if environment is None else environment), **(wish or Wish()).variables(role)}
    try:
        subprocess.run(["sh", str(installer)], env=variables, check=True)
    except (OSError, subprocess.CalledProcessError) as error:
        raise LaunchFailed(
            f"K3s's installer failed: {error}.", hint="'journalctl -u k3s' or '-u k3s-agent' has the rest."
        ) from error


def run(*command: str) -> None:
    """Run a program of this machine, whose output goes to ours.

    Raises:
        LaunchFailed: it failed, or is not installed.
    """
    try:
        subprocess.run(command, check=True)
    except (OSError, subprocess.CalledProcessError) as error:
        raise LaunchFailed(f"'{' '.join(command)}' failed: {error}.", hint="This needs root and systemd.") from error


def _yaml(content: Mapping[str, Any]) -> str:
    return yaml.safe_dump(dict(content), sort_keys=False)
