"""From a bare machine with systemd to a public service, through upgrades and a loss of power, and back."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import aiohttp
import pytest

from support.vm import ROOT, Machine, machine, make_wheel, next_release

pytestmark = [pytest.mark.e2e, pytest.mark.docker, pytest.mark.haproxy, pytest.mark.timeout(1200)]

SITE = "127.0.53.90"
EXAMPLE = "file:///var/lib/binderlet/example"
OPTIONS = (
    f"--domain binder.test --no-https --no-swap --no-firewall --no-updates --set server.host={SITE} "
    "--set server.instance=vm --set standby.enabled=false --set builder.min_free_disk=0 "
    "--set builder.image_prefix=binderlet-vm/i-"
)
"""Swap, firewall and updates would change the machine that runs the tests."""


@pytest.fixture(scope="module")
def vm() -> Iterator[Machine]:
    """A bare machine."""
    with machine() as booted:
        yield booted


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """This checkout's release."""
    return make_wheel(tmp_path_factory.mktemp("wheel"))


def bootstrap(vm: Machine, wheel: Path) -> str:
    """Put the program on the machine as a person would, in a virtual environment; gives the command."""
    file = vm.put(wheel)
    lock = vm.put(ROOT / "requirements.lock")
    vm.must("python3 -m venv /root/boot")
    vm.must(f"/root/boot/bin/pip install -q --require-hashes -r {lock}")
    vm.must(f"/root/boot/bin/pip install -q --no-deps {file}")
    return f"/root/boot/bin/binderlet install --wheel {file} {OPTIONS}"


def test_a_machines_life(vm: Machine, wheel: Path) -> None:
    """Plan, interrupted install, install, launch, loss of power, upgrade, an upgrade that fails, and uninstall."""
    before = vm.files()
    install = bootstrap(vm, wheel)
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
    assert "ready: http://binder.test/" in said
    again = vm.must(install)
    assert "will do" not in again
    assert "settings: done already" in again

    assert "was ready after" in vm.must("binderlet check")
    session, token = launch(vm)
    vm.reboot()
    vm.must("for i in $(seq 120); do binderlet status && exit 0; sleep 1; done; exit 1")
    assert session in vm.must("binderlet sessions"), "the engine did not go down, so its sessions are found again"

    asyncio.run(upgrades(vm, wheel, f"http://{SITE}/user/{session}/api/events/subscribe?token={token}"))

    assert "binderlet is gone" in vm.must("binderlet uninstall --keep-images")
    left = {path for path in vm.files() - before if not path.startswith(("/etc/alternatives", "/etc/ld.so.cache"))}
    assert left == set()
    running = vm.must("ps -eo args").splitlines()
    assert [line for line in running if "/opt/binderlet" in line or "/var/lib/binderlet" in line] == []
    code, said = vm.run("/root/boot/bin/binderlet uninstall")
    assert code == 1
    assert "Nothing was installed here" in said


def launch(vm: Machine) -> tuple[str, str]:
    """Launch the example and leave its session open; gives its id and token."""
    said = vm.must(f"binderlet launch --json --provider git '{quote(EXAMPLE, safe='')}/HEAD'")
    ready = json.loads(said[said.index("{") :])
    return str(ready["url"]).rstrip("/").rpartition("/")[2], str(ready["token"])


async def upgrades(vm: Machine, wheel: Path, address: str) -> None:
    """A good release replaces the old one under an open WebSocket; a bad one is taken back, and it stays open."""
    async with aiohttp.ClientSession() as http, http.ws_connect(address, heartbeat=5) as channel:
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
