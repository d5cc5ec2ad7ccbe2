"""A machine with systemd in a container, and releases of this checkout to install on it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

from support.service import docker as docker_command
from support.upstreams import free_port

ROOT = Path(__file__).parents[2]
IMAGE = "binderlet-test/vm:2"
CA = "/etc/ssl/certs/ca-certificates.crt"
BARE_IMAGE = "binderlet-test/vm-bare:1"
BARE = (
    *("systemd-sysv", "dbus", "openssh-server", "python3", "python3-venv", "ca-certificates", "iproute2", "procps"),
    "docker.io",
)
"""What a cloud image has, and the engine."""
PACKAGES = (*BARE, "docker-registry", "haproxy", "git", "git-lfs", "mmdebstrap", "nftables", "kmod")
"""Also most of what the service needs, so that tests do not download it again and again."""

SSHD = "/run/sshd-test.pid"
ENGINE_GROUP = (
    "getent group docker >/dev/null || groupadd --system docker; "
    "groupmod --non-unique --gid $(stat --format %g /run/docker.sock) docker"
)
"""The engine's socket comes from this machine, whose group has another number."""

PASSED_ON = re.compile(r"PIP_(INDEX|EXTRA|PROXY|DEFAULT)|HTTPS?_PROXY|NO_PROXY", re.IGNORECASE)


def docker(*arguments: str) -> str:
    """Run a docker command that has to succeed; gives what it printed."""
    done = subprocess.run([docker_command(), *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, (arguments, done.stderr)
    return done.stdout


class Machine:
    """A running one. It shares this machine's network and container engine."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.bases: list[str] = []
        """Base images that tests have to remove when it is gone."""

    def run(self, command: str, *, timeout: float = 600) -> tuple[int, str]:
        """Run a shell command as root; gives exit code and output."""
        done = subprocess.run(
            [docker_command(), "exec", *_environment(), self.name, "bash", "-c", command],
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
        return done.returncode, done.stdout + done.stderr

    def must(self, command: str, *, timeout: float = 600) -> str:
        """Run a shell command that has to succeed; gives its output."""
        code, out = self.run(command, timeout=timeout)
        assert code == 0, f"{command}: {code}\n{out}\n{self.run('journalctl --unit binderlet -n 40 -o cat')[1]}"
        return out

    def put(self, file: Path, folder: str = "/root/") -> str:
        """Copy a file to it; gives where it is."""
        docker("cp", str(file), f"{self.name}:{folder}")
        return f"{folder}{file.name}"

    def files(self) -> set[str]:
        """Name every file in the places that an installation touches."""
        out = self.must("find /etc /opt /usr/local /var/lib/binderlet* -xdev 2>/dev/null || true")
        return {line for line in out.splitlines() if "__pycache__" not in line and not line.startswith("/etc/ssl")}

    def base(self) -> str:
        """Name the base image that its service made, as its log says; empty where it found one."""
        said = self.run("journalctl --unit binderlet --output cat --no-pager")[1]
        return next(iter(re.findall(r"The base image (binderlet/base:\w+) is ready", said)), "")

    def reboot(self) -> None:
        """Start the machine again, as after a loss of power."""
        docker("restart", "--time", "0", self.name)
        self.wait_booted()

    def wait_booted(self) -> None:
        """Return once systemd has started what it starts."""
        for _ in range(600):
            if self.run("systemctl is-system-running")[1].strip() in {"running", "degraded"}:
                return
            time.sleep(0.2)
        raise TimeoutError(self.run("systemctl list-jobs; systemctl --failed")[1])


@contextmanager
def machine(*, bare: bool = False) -> Iterator[Machine]:
    """Boot a machine; it is gone at the end of the block."""
    image = _make_image(BARE_IMAGE, BARE) if bare else _make_image(IMAGE, PACKAGES)
    name = f"binderlet-vm-{uuid4().hex[:8]}"
    # Not --privileged: all that systemd needs is to mount, and to see its own control group.
    docker(
        *("run", "--detach", "--name", name, "--network", "host", "--hostname", "vm"),
        *("--cap-add", "SYS_ADMIN", "--cap-add", "NET_ADMIN", "--security-opt", "seccomp=unconfined"),
        *("--security-opt", "apparmor=unconfined", "--tmpfs", "/run", "--tmpfs", "/run/lock", "--tmpfs", "/tmp:exec"),  # noqa: S108 - inside the container
        *("--volume", "/sys/fs/cgroup:/sys/fs/cgroup:ro", "--volume", "/var/run/docker.sock:/run/docker.sock"),
        *("--volume", f"{CA}:{CA}:ro", image, "/sbin/init"),
    )
    booted = Machine(name)
    try:
        booted.wait_booted()
        booted.must(ENGINE_GROUP)
        yield booted
    finally:
        docker("rm", "--force", "--volumes", name)


def _make_image(image: str, packages: Sequence[str]) -> str:
    if not docker("images", "--quiet", image).strip():
        with tempfile.TemporaryDirectory(prefix="bl-vm-") as folder:
            tar = Path(folder, "vm.tar")
            command = [
                "mmdebstrap",
                "--quiet",
                "--variant=apt",
                f"--include={','.join(packages)}",
                "bookworm",
                str(tar),
            ]
            subprocess.run(command, check=True, capture_output=True)
            docker("import", str(tar), image)
    return image


def let_in(vm: Machine, address: str, folder: Path) -> tuple[list[str], str]:
    """Let ssh in with a key of its own; gives 'deploy' arguments for the way there, and what starts ssh again."""
    key, port = folder / "key", free_port()
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True)
    vm.put(Path(f"{key}.pub"))
    vm.must("install -D -m 600 /root/key.pub /root/.ssh/authorized_keys")
    start = f"install -d -m 755 /run/sshd; /usr/sbin/sshd -p {port} -o ListenAddress={address} -o PidFile={SSHD}"
    vm.must(start)
    way = [f"root@{address}", "--ssh-port", str(port), "--ssh-option", f"IdentityFile={key}"]
    way += ["--ssh-option", "StrictHostKeyChecking=no", "--ssh-option", f"UserKnownHostsFile={folder}/hosts"]
    return way, start


def remove_base(name: str) -> None:
    """Remove a base image from this machine's engine, with all that was built on it."""
    key = name.rpartition(":")[2]
    built = docker("images", "--format", "{{.Repository}}:{{.Tag}}", "--filter", f"label=binderlet.base={key}")
    # The one with most layers first: what is below others cannot go before them.
    for each in [*(one for one in built.split() if one != name), name]:
        subprocess.run([docker_command(), "image", "rm", "--force", each], capture_output=True, check=False)


def _environment() -> list[str]:
    """Give what lets pip on the machine reach its index as pip here does."""
    given = {name: value for name, value in os.environ.items() if PASSED_ON.match(name)}
    given |= {"SSL_CERT_FILE": CA, "PIP_CERT": CA}
    return [part for name, value in given.items() for part in ("--env", f"{name}={value}")]


def bootstrap(vm: Machine, wheel: Path) -> str:
    """Put the program on the machine as a person would, in a virtual environment; gives the install command."""
    file, lock = vm.put(wheel), vm.put(ROOT / "requirements.lock")
    vm.must("python3 -m venv /root/boot")
    vm.must(f"/root/boot/bin/pip install -q --require-hashes -r {lock}")
    vm.must(f"/root/boot/bin/pip install -q --no-deps {file}")
    return f"/root/boot/bin/binderlet install --wheel {file}"


def make_wheel(folder: Path) -> Path:
    """Build this checkout's release."""
    pip = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation"]
    subprocess.run([*pip, "--wheel-dir", str(folder), str(ROOT)], check=True, capture_output=True)
    return next(folder.glob("binderlet-*.whl"))


def next_release(wheel: Path, version: str, *, broken: bool = False) -> Path:
    """Make a later release of a wheel; a broken one starts, and then fails every launch."""
    before = wheel.name.split("-")[1]
    made = wheel.with_name(wheel.name.replace(before, version))
    with zipfile.ZipFile(wheel) as old, zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as new:
        for name in old.namelist():
            text = old.read(name)
            if name.endswith((".dist-info/METADATA", "binderlet/__init__.py", ".dist-info/RECORD")):
                text = text.replace(before.encode(), version.encode())
            if broken and name == "binderlet/launch/runner.py":
                text += b"\n\ndef image_name(*_, **__):\n    raise LaunchFailed('This release launches nothing.')\n"
            new.writestr(name.replace(f"-{before}.dist-info", f"-{version}.dist-info"), text)
    return made
