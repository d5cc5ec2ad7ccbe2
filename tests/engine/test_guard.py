"""The network rules around real sessions, and what becomes of them."""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from binderlet.clients import nftables
from binderlet.clients.nftables import NftablesUnusable
from binderlet.config.egress import EgressSettings
from binderlet.engine.egress import table
from binderlet.engine.guard import Guard, Unheld, addresses
from binderlet.errors import ConfigError
from support.engine_harness import SPEC, Harness, real_harness, spec_of
from support.engines import BUSYBOX, EngineApi
from support.eventually import eventually
from support.namespace import host, run
from support.root_helper import root_helper

pytestmark = pytest.mark.skipif(
    os.geteuid() != 0 or shutil.which("nft", path="/usr/sbin:/usr/bin") is None, reason="sets rules of nftables"
)
SERVES = ("httpd", "-f", "-p", "8888", "-h", "/bin")


@dataclass(frozen=True)
class Outside:
    """A machine with an address of each kind; it answers at ports 80, 25 and 5432."""

    public: str
    private: str
    metadata: str
    """Link-local, as the clouds' metadata services."""
    here: str
    """This machine's address towards it."""


@pytest.fixture
def outside() -> Iterator[Outside]:
    """The machine."""
    number = os.getpid() % 200 + 1
    with host() as other, ExitStack() as stack:
        found = Outside(f"198.51.100.{number}", other.address, f"169.254.77.{number}", other.address[:-1] + "1")
        for address in (found.public, found.metadata):
            run(*other.inside, "ip", "address", "add", f"{address}/32", "dev", "eth0")
            run("ip", "route", "add", f"{address}/32", "dev", other.cable)
        for port in ("80", "25", "5432"):
            stack.enter_context(_served(*other.inside, str(BUSYBOX), "httpd", "-f", "-p", port))
        yield found


@contextmanager
def _served(*command: str) -> Iterator[None]:
    with subprocess.Popen(command, cwd="/bin") as process:
        try:
            yield
        finally:
            process.kill()


@pytest.fixture(
    params=[pytest.param("docker", marks=pytest.mark.docker), pytest.param("podman", marks=pytest.mark.podman)]
)
async def held(request: pytest.FixtureRequest, outside: Outside) -> AsyncIterator[Harness]:
    """Each real engine in turn, whose sessions may reach one private service besides."""
    api = request.getfixturevalue(f"{request.param}_api")
    async with real_harness(api, EgressSettings(mode="required", allow=[f"{outside.private}:5432"])) as harness:
        yield harness


async def reached(harness: Harness, session: str, *places: str) -> list[str]:
    """Give those of the places, each an address and a port, that a session reaches."""
    assert isinstance(harness.api, EngineApi)
    tries = "; ".join(f"nc -w 2 {place} </dev/null >/dev/null 2>&1 && echo {place}" for place in places)
    said = await asyncio.to_thread(harness.api.run, session, "sh", "-c", tries)
    return said.splitlines()


@pytest.mark.timeout(60)
async def test_what_sessions_reach(held: Harness, outside: Outside) -> None:
    """The internet's usual ports and what is allowed; nothing private, no metadata service, no mail, nothing here."""
    session = await held.engine.start(spec_of(command=SERVES))
    server = await asyncio.start_server(lambda _, writer: writer.close(), "0.0.0.0", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        let = [f"{outside.public} 80", f"{outside.private} 5432"]
        kept = [
            *(f"{outside.public} 25", f"{outside.public} 5432", f"{outside.private} 80", f"{outside.metadata} 80"),
            f"{outside.here} {port}",
        ]
        # Those outside need a moment to listen.
        async with asyncio.timeout(20):
            while await reached(held, session.engine_id, *let) != let:  # noqa: ASYNC110 - only it can tell
                await asyncio.sleep(0.1)
        assert await reached(held, session.engine_id, *kept) == []
        # What this machine asks of a session is answered, as ever.
        address, _, own = session.address.partition(":")
        async with asyncio.timeout(20):
            while True:
                try:
                    _, writer = await asyncio.open_connection(address, int(own))
                except OSError:
                    await asyncio.sleep(0.1)
                else:
                    writer.close()
                    break
        assert held.guard is not None
        assert held.guard.check().message == "In force."
        await held.guard.release()
        assert set(await reached(held, session.engine_id, *kept)) >= set(kept)


@pytest.mark.timeout(60)
async def test_what_build_steps_reach(held: Harness, outside: Outside) -> None:
    """On the engine's default network the metadata service is kept from everybody, and nothing else."""
    api = held.api
    assert isinstance(api, EngineApi)
    labels = {"binderlet.instance": held.instance}
    limits = [{"Name": name, "Soft": 1024, "Hard": 1024} for name in ("nofile", "nproc")]
    place = {"NetworkMode": "bridge", "Ulimits": limits}
    request = {"Image": SPEC.image, "Cmd": ["sleep", "600"], "Labels": labels, "HostConfig": place}
    made = await asyncio.to_thread(api.call, "POST", "containers/create", request)
    await asyncio.to_thread(api.call, "POST", f"containers/{made['Id']}/start")
    let = [f"{outside.private} 80", f"{outside.public} 25"]
    async with asyncio.timeout(20):
        while await reached(held, made["Id"], *let) != let:  # noqa: ASYNC110 - only it can tell
            await asyncio.sleep(0.1)
    assert await reached(held, made["Id"], f"{outside.metadata} 80") == []


@dataclass
class Kernel:
    """Instead of ``nft``: what is in force by table, and what it says against it."""

    tables: dict[str, str]
    error: str = ""

    def ensure(self, name: str, _mark: str, script: str) -> bool:
        """As ``nftables.ensure``."""
        if self.error:
            raise NftablesUnusable(self.error)
        changed = self.tables.get(name) != script
        self.tables[name] = script
        return changed

    def remove(self, name: str) -> None:
        """As ``nftables.remove``."""
        if self.error:
            raise NftablesUnusable(self.error)
        self.tables.pop(name, None)


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> Kernel:
    """One without rules."""
    found = Kernel({})
    monkeypatch.setattr(nftables, "ensure", found.ensure)
    monkeypatch.setattr(nftables, "remove", found.remove)
    return found


async def test_where_rules_cannot_be_set(kernel: Kernel) -> None:
    """Sessions go on without, and it is said; where the rules are required there is no start."""
    kernel.error = "this process is not root"
    guard = Guard(EgressSettings(), "mine")
    await guard.hold(["br-0"])
    await guard.hold(["br-0"])
    assert guard.check().message == "Not in force: this process is not root."
    assert (guard.check().ok, guard.check().ignore_failure) == (False, True)
    await guard.release()
    required = Guard(EgressSettings(mode="required"), "mine")
    with pytest.raises(ConfigError, match=r"egress\.mode.*not root"):
        await required.hold(["br-0"])
    assert not required.check().ignore_failure
    kernel.error = ""
    await required.hold(["br-0"])
    await required.hold(["br-0"])
    assert required.check().ok


async def test_engines_elsewhere(kernel: Kernel) -> None:
    """Rules of this machine would hold nobody, so none are set."""
    guard = Guard(EgressSettings(), "mine", elsewhere=True)
    await guard.hold(["br-0"])
    assert "on another machine" in guard.check().message
    assert kernel.tables == {}


async def test_switched_off(kernel: Kernel) -> None:
    """Rules that an earlier start has left are taken away, and nothing is kept."""
    kernel.tables[table("mine")] = "old"
    await Guard(EgressSettings(mode="off"), "mine", helper="/no/helper").hold(["br-0"])
    assert kernel.tables
    guard = Guard(EgressSettings(mode="off"), "mine")
    await guard.hold(["br-0"])
    await guard.run()
    assert kernel.tables == {}
    assert guard.check().message.startswith("Off")
    await guard.release()


async def test_rules_that_somebody_throws_away_come_back(kernel: Kernel) -> None:
    """They are looked at again and again; what fails once is mended at the next look."""
    looks = 0

    async def sleep(_seconds: float) -> None:
        nonlocal looks
        looks += 1
        kernel.tables.clear()
        kernel.error = "busy" if looks == 1 else ""
        await asyncio.sleep(0)

    guard = Guard(EgressSettings(), "mine", sleep=sleep)
    await guard.hold(["br-0"])
    loop = asyncio.create_task(guard.run())  # noqa: TID251 - this test ends it
    await eventually(lambda: looks > 2 and table("mine") in kernel.tables)
    assert guard.check().ok
    loop.cancel()
    await asyncio.gather(loop, return_exceptions=True)


async def test_rules_that_cannot_be_taken_away(kernel: Kernel) -> None:
    """The end of the service is not held up by them."""
    guard = Guard(EgressSettings(), "mine")
    await guard.hold(["br-0"])
    kernel.error = "busy"
    await guard.release()
    assert table("mine") in kernel.tables


async def test_by_the_root_helper(kernel: Kernel, tmp_path: Path) -> None:
    """A control plane that is not root has it done; what the helper cannot do is said in its words."""
    settings = EgressSettings(ports=["80", "8000-8010"], allow=["10.1.2.3:5432", "fd00::/8"])
    with root_helper(tmp_path) as path:
        guard = Guard(settings, "mine", helper=path)
        await guard.hold(["br-0123456789ab", "bl0f0f*"])
        assert guard.check().ok
        assert "ip daddr 10.1.2.3/32 meta l4proto { tcp, udp } th dport 5432 accept" in kernel.tables[table("mine")]
        await guard.release()
        assert kernel.tables == {}
        kernel.error = "busy"
        await guard.hold(["br-0123456789ab"])
        assert guard.check().message == "Not in force: busy."
    await guard.hold(["br-0123456789ab"])
    assert "does not answer" in guard.check().message


async def test_nothing_is_held() -> None:
    """Without a guard there is nothing to do."""
    await Unheld().hold(["br-0"])


@pytest.mark.parametrize(
    ("url", "found"),
    [
        ("http://10.1.2.3:3128", [("10.1.2.3/32", "3128")]),
        ("10.1.2.3:3128", [("10.1.2.3/32", "3128")]),
        ("https://user:word@[fd00::1]/simple", [("fd00::1/128", "443")]),
        ("http://10.0.0.1/", [("10.0.0.1/32", "80")]),
        ("https://8.8.8.8/simple", []),
        ("https://8.8.8.8:8443/simple", [("8.8.8.8/32", "8443")]),
        ("http://127.0.0.1:3128", []),
        ("http://no-such-name.invalid", []),
        ("", []),
    ],
)
def test_addresses(url: str, found: list[tuple[str, str]], monkeypatch: pytest.MonkeyPatch) -> None:
    """What is private, or at a port of its own, is let through; what sessions reach anyway or never is not."""

    def look_up(name: str, port: int, **_: Any) -> list[Any]:  # noqa: ANN401 - as the standard library
        if name.endswith(".invalid"):
            raise OSError
        return [(None, None, None, "", (name, port))]

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    assert addresses(url) == found
