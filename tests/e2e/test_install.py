"""From a bare machine with systemd to a public service, through upgrades and a loss of power, and back."""

from __future__ import annotations

import asyncio
import json
import re
import shlex
import socket
import ssl
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import aiohttp
import pytest
from aiohttp.abc import AbstractResolver, ResolveResult

from support.acme_server import AcmeServer, acme_server
from support.s3_server import s3_server
from support.visit import wait_for
from support.vm import CA, SSHD, Machine, bootstrap, let_in, machine, make_wheel, next_release, remove_base

pytestmark = [pytest.mark.e2e, pytest.mark.docker, pytest.mark.haproxy, pytest.mark.timeout(1200)]

SITE = "127.0.53.90"
NAME = "binder.test"
EXAMPLE = "file:///var/lib/binderlet/example"
OPTIONS = ["--domain", NAME, "--no-swap", "--no-firewall", "--no-updates"]
"""Swap, firewall and updates would change the machine that runs the tests."""
SETTINGS = {
    "server.host": SITE,
    "server.instance": "vm",
    "standby.enabled": "false",
    "builder.min_free_disk": "0",
    "builder.image_prefix": "binderlet-vm/i-",
    "network.ca_bundle": "/etc/ssl/ca.pem",
    "registry.push": "false",
}
UNITS = {
    "binderlet.service": ("binderlet", "binderlet.slice"),
    "binderlet-haproxy.service": ("haproxy", "binderlet.slice"),
    "binderlet-registry.service": ("binderlet", "binderlet.slice"),
    "binderlet-helper.service": ("root", "binderlet.slice"),
}
"""Who runs each, and in which slice."""
LISTENING = ("binderlet-job.socket", "binderlet-helper.socket", "binderlet-backup.timer")
JOB = """
import asyncio
from pathlib import Path
from binderlet.builder.job import Job, JobSpec

async def main():
    job = Job(Path("/var/lib/binderlet/jobs/probe"), "/run/binderlet/job.sock")
    await job.start(JobSpec(["sh", "-c", "id -un; cat /proc/self/cgroup"]))
    print((await job.wait()).tail)

asyncio.run(main())
"""
ASK = (
    "from binderlet.clients.helper import ask; "
    "print(ask('/run/binderlet/helper.sock', 'layer-size', driver='x', chain='a' * 64))"
)
AS_SERVICE = "setpriv --reuid=binderlet --regid=binderlet --clear-groups /opt/binderlet/current/bin/python -c"


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AcmeServer]:
    """A certificate authority that finds the machine under its name."""
    with acme_server(tmp_path_factory.mktemp("acme"), {NAME: SITE}) as server:
        yield server


@pytest.fixture(scope="module")
def vm(authority: AcmeServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """A bare machine that trusts the authority."""
    bundle = tmp_path_factory.mktemp("ca") / "ca.pem"
    bundle.write_bytes(Path(CA).read_bytes() + authority.root.read_bytes())
    with machine() as booted:
        booted.put(bundle, "/etc/ssl/")
        yield booted
        # It has the authority's certificate, so nobody can use it any more.
        for name in booted.bases:
            remove_base(name)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """This checkout's release."""
    return make_wheel(tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def storage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, object]]:
    """Object storage, as settings."""
    with s3_server(tmp_path_factory.mktemp("s3"), tls=False) as server:
        yield server.block(server.make_bucket())


def options(authority: AcmeServer, storage: dict[str, object]) -> list[str]:
    """Give what the installation is told."""
    settings = SETTINGS | storage | {"https.directory": authority.directory}
    return OPTIONS + [part for key, value in settings.items() for part in ("--set", f"{key}={value}")]


def test_a_machines_life(vm: Machine, wheel: Path, authority: AcmeServer, storage: dict[str, object]) -> None:
    """Plan, interrupted install, install, launch, loss of power, upgrade, an upgrade that fails, and uninstall."""
    before = vm.files()
    displaced = vm.run("systemctl is-active haproxy")[1]
    install = f"{bootstrap(vm, wheel)} {shlex.join(options(authority, storage))}"
    plan = vm.must(f"{install} --dry-run")
    assert "will do: start binderlet.service" in plan
    assert vm.files() == before, "a plan changes nothing"

    # Interrupted in the middle, and two at once.
    vm.run(f"timeout --signal KILL 4 {install}")
    hold = "flock --no-fork /var/lib/binderlet-install/lock sh -c 'until [ -e /tmp/go ]; do sleep 0.1; done'"
    code, said = vm.run(f"{hold} & sleep 1; {install}; code=$?; touch /tmp/go; wait; exit $code")
    assert code == 1
    assert "Another installation goes on" in said
    said = vm.must(install)
    assert "ready: https://binder.test/" in said
    assert vm.base(), "it has the authority's certificate, so it has to be made"
    vm.bases.append(vm.base())
    again = vm.must(install)
    assert "will do" not in again
    assert "settings: done already" in again

    wait_for(lambda: is_trusted(authority), seconds=90, what="a certificate from the authority is in use")
    assert "was ready after" in vm.must("binderlet check")
    session, token = launch(vm)
    check_places(vm)
    check_that_they_stand_alone(vm)
    assert re.search(r"Network rules\W+In force", vm.must("binderlet status")), "the root helper may set them"
    vm.reboot()
    vm.must("for i in $(seq 120); do binderlet status && exit 0; sleep 1; done; exit 1")
    check_units(vm)
    assert session in vm.must("binderlet sessions"), "the engine did not go down, so its sessions are found again"

    asyncio.run(upgrades(vm, wheel, authority, f"user/{session}/api/events/subscribe?token={token}"))

    assert "binderlet is gone" in vm.must("binderlet uninstall --keep-images")
    left = {path for path in vm.files() - before if not path.startswith(("/etc/alternatives", "/etc/ld.so.cache"))}
    assert left == set()
    assert vm.run("getent passwd binderlet")[0] != 0
    assert vm.run("systemctl is-active haproxy")[1] == displaced
    running = vm.must("ps -eo args").splitlines()
    assert [line for line in running if "/opt/binderlet" in line or "/var/lib/binderlet" in line] == []
    code, said = vm.run("/root/boot/bin/binderlet uninstall")
    assert code == 1
    assert "Nothing was installed here" in said


def check_units(vm: Machine) -> None:
    """Each runs under its user and in its slice; Debian's own HAProxy does not."""
    vm.must(f"systemctl is-active {' '.join(LISTENING)}")
    for unit, (user, slice_) in UNITS.items():
        show = f"systemctl show --value --property=MainPID,Slice {unit}"
        pid, found = vm.must(show).split()
        assert (vm.must(f"ps --no-headers -o user -p {pid}").strip(), found) == (user, slice_), unit
    assert vm.run("systemctl is-active haproxy")[0] != 0


def check_places(vm: Machine) -> None:
    """Sessions and builds are in their slices; nobody but the service may ask for a build, or root for anything."""
    answer = vm.must(f'{AS_SERVICE} "{ASK}"')
    assert answer == "{'size': None}\n"
    code, said = vm.run(f'{AS_SERVICE.replace("--reuid=binderlet", "--reuid=haproxy")} "{ASK}"')
    assert code != 0
    assert "Permission denied" in said
    check_units(vm)
    groups = vm.must("find /sys/fs/cgroup -type d -path '*/binderlet.slice/binderlet-sessions.slice/*'")
    assert groups.strip(), "the session has its control groups there"
    job = vm.must(f"{AS_SERVICE} {shlex.quote(JOB)}")
    assert job.startswith("binderlet\n")
    assert "/binderlet.slice/binderlet-builds.slice/binderlet-job@" in job


def check_that_they_stand_alone(vm: Machine) -> None:
    """HAProxy does not notice a restart of the control plane, which finds one that was killed and came again."""
    pid = "systemctl show --value --property=MainPID binderlet-haproxy"
    before = vm.must(pid)
    vm.must("systemctl restart binderlet; until binderlet status; do sleep 0.2; done")
    assert vm.must(pid) == before
    vm.must(f"kill -9 {before.strip()}; until binderlet check; do sleep 0.5; done")
    assert vm.must(pid) not in {before, "0\n"}


def launch(vm: Machine) -> tuple[str, str]:
    """Launch the example and leave its session open; gives its id and token."""
    said = vm.must(f"binderlet launch --json --provider git '{quote(EXAMPLE, safe='')}/HEAD'")
    ready = json.loads(said[said.index("{") :])
    return str(ready["url"]).rstrip("/").rpartition("/")[2], str(ready["token"])


async def upgrades(vm: Machine, wheel: Path, authority: AcmeServer, path: str) -> None:
    """A good release replaces the old one under an open WebSocket; a bad one is taken back, and it stays open."""
    trust = ssl.create_default_context(cafile=authority.root)
    connector = aiohttp.TCPConnector(resolver=Leads(SITE), ssl=trust)
    address = f"https://{NAME}/{path}"
    async with aiohttp.ClientSession(connector=connector) as http, http.ws_connect(address, heartbeat=5) as channel:
        good = await asyncio.to_thread(vm.put, next_release(wheel, "0.9.1"))
        said = await asyncio.to_thread(vm.must, f"binderlet upgrade --wheel {good}")
        assert "0.9.1" in said
        assert "has launched the example" in said
        assert "binderlet 0.9.1" in await asyncio.to_thread(vm.must, "binderlet status")
        bad = await asyncio.to_thread(vm.put, next_release(wheel, "0.9.2", broken=True))
        code, said = await asyncio.to_thread(vm.run, f"binderlet upgrade --wheel {bad}")
        assert code == 1
        assert "going back to 0.9.1" in said
        assert "binderlet 0.9.1" in await asyncio.to_thread(vm.must, "binderlet status")
        assert not channel.closed
        await channel.ping()
    await asyncio.sleep(0.5)  # aiohttp ends TLS connections only after it said that they are closed


def is_trusted(authority: AcmeServer) -> bool:
    """Whether a browser that trusts the authority would go there."""
    trust = ssl.create_default_context(cafile=authority.root)
    with socket.create_connection((SITE, 443), timeout=10) as plain:
        try:
            trust.wrap_socket(plain, server_hostname=NAME).close()
        except ssl.SSLCertVerificationError:
            return False
    return True


class Leads(AbstractResolver):
    """Every name leads to one address."""

    def __init__(self, address: str) -> None:
        self._address = address

    async def resolve(self, host: str, port: int = 0, family: int = socket.AF_INET) -> list[ResolveResult]:
        """Give it."""
        found = ResolveResult(hostname=host, host=self._address, port=port, family=family, proto=0, flags=0)
        return [found]

    async def close(self) -> None:
        """Nothing is held."""


def test_over_ssh(vm: Machine, wheel: Path, authority: AcmeServer, storage: dict[str, object], tmp_path: Path) -> None:
    """The same from another computer; the connection is lost for a while, what goes on there is followed again."""
    way, start = let_in(vm, SITE, tmp_path)
    command = [sys.executable, "-m", "binderlet.cli", "deploy", *way, "--wheel", str(wheel)]
    said: list[str] = []
    lost = False
    with subprocess.Popen([*command, *options(authority, storage)], stdout=subprocess.PIPE, text=True) as deploying:
        assert deploying.stdout is not None
        for line in deploying.stdout:
            said.append(line.rstrip())
            if line.startswith("program:") and not lost:
                lost = True
                vm.run(f"kill $(cat {SSHD}) $(pgrep -f '^sshd: root')")
                vm.must(f"sleep 2; {start}")
    assert deploying.returncode == 0, said
    assert said[-1] == f"ready: https://{NAME}/"
    assert "was ready after" in vm.must("binderlet check")
    assert vm.run("ls /var/lib/binderlet-deploy/asked.json")[0] != 0, "keys do not stay there"
    vm.must("binderlet uninstall --keep-images")
    assert vm.run("ls -d /var/lib/binderlet*")[0] != 0, "what 'deploy' put there is gone, too"
