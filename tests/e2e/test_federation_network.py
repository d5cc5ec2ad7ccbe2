"""A member on a host of its own, whose network is slowed by tc and cut by nftables."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import pytest

from support.federation_live import SECRET, START, Redirector, launch, wait_until
from support.gitserver import Repository
from support.namespace import Host, host
from support.service import COMMAND, LiveService, free_port, git_spec

pytestmark = [pytest.mark.e2e, pytest.mark.haproxy, pytest.mark.timeout(180)]

PATIENCE = 60.0
FILE = """
url = "http://127.0.0.1:{port}"
[check]
period = 0.5
timeout = 2
failed_period = 1
[members.near]
url = "{near}"
prime = true
[members.far]
url = "{far}"
"""


@dataclass
class World:
    """Two members, of which one is far away, and a redirector."""

    far: Host
    far_url: str
    redirector: Redirector
    spec: str

    def state(self) -> str:
        """Say how the redirector sees the far one."""
        return str(self.redirector.members()["far"]["state"])


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """Both members serve fakes; the far one's HAProxy and control plane run on its own host."""
    with ExitStack() as undo:
        # Not in pytest's folder: the paths of unix sockets must be short.
        folder = Path(undo.enter_context(tempfile.TemporaryDirectory(prefix="bl-net-")))
        Repository(folder / "git" / "repo").commit({"README.md": "Hello"})
        far = undo.enter_context(host())
        near_url = undo.enter_context(member(folder, "near", "127.0.0.1", ()))
        far_url = undo.enter_context(member(folder, "far", far.address, tuple(far.inside)))
        port, file = free_port(), folder / "federation.toml"
        file.write_text(FILE.format(port=port, near=near_url, far=far_url))
        process = subprocess.Popen([*COMMAND, "federation", "serve", "--file", str(file), "--port", str(port)])
        undo.callback(process.wait)
        undo.callback(process.kill)
        redirector = Redirector(port, process)
        wait_until(redirector.answers, START, "the redirector answers")
        yield World(far, far_url, redirector, git_spec(f"file://{folder}/git/repo"))


@contextmanager
def member(folder: Path, name: str, address: str, wrapper: tuple[str, ...]) -> Iterator[str]:
    """Run a member at an address; gives its URL without slash."""
    settings = {
        "engine.kind": "fake",
        "server.host": address,
        "security.build_token_secret": SECRET,
        "providers.git.local_folders": [str(folder / "git")],
        "builder.min_free_disk": 0,
    }
    service = LiveService(folder / name, name=f"net-{uuid4().hex[:8]}", settings=settings)
    service.wrapper, service.url = wrapper, f"http://{address}:{service.port}/"
    with service:
        yield service.url.rstrip("/")


@pytest.fixture(autouse=True)
def mended(world: World) -> Iterator[None]:
    """Every test begins with a network that is whole."""
    yield
    world.far.mend()
    wait_until(lambda: world.state() == "up", PATIENCE, "the far member is up again")


def test_a_slow_way_loses_nothing(world: World) -> None:
    """A member behind a line of 16 kilobits a second stays in and launches all it is sent."""
    world.far.slow(16)
    for _ in range(3):
        event = launch(world.redirector, world.spec, cookie=f'host="{world.far_url}"')
        assert event["phase"] == "ready", event
        assert event["url"].startswith(world.far_url)
    assert world.state() == "up"


def test_packets_that_are_dropped(world: World) -> None:
    """A member whose network drops everything is out after its probe's time; launches go elsewhere, none is lost."""
    world.far.cut()
    wait_until(lambda: world.state() != "up", PATIENCE, "the silence is seen")
    for _ in range(5):
        event = launch(world.redirector, world.spec, cookie=f'host="{world.far_url}"')
        assert event["phase"] == "ready", event
        assert not event["url"].startswith(world.far_url)
