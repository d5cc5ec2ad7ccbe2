"""A HAProxy that somebody else runs, as in a container beside ours."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import aiohttp
import pytest

from binderlet.config.schema import ServerSettings
from binderlet.errors import RouterUnavailable
from binderlet.model import Route
from binderlet.router.beside import HAProxyBeside
from binderlet.router.config import Others
from binderlet.router.haproxy import HAProxyRouter
from binderlet.router.process import SEARCH, find_program
from support.routers import folder_for_sockets
from support.upstreams import free_port, upstream

pytestmark = pytest.mark.haproxy
WAITS = "until [ -s haproxy.cfg ] && [ -e routes.map ]; do sleep 0.05; done; exec "
HAPROXY = find_program("haproxy") if shutil.which("haproxy", path=":".join(SEARCH)) else ""
RUNS = "-W -S unix@master.sock,mode,600 -f haproxy.cfg"


@pytest.fixture
def state() -> Iterator[Path]:
    """A state folder whose path is short enough for sockets."""
    with folder_for_sockets() as folder:
        (folder / "run").mkdir()
        yield folder


@contextmanager
def container(state: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Do what the chart's other container does."""
    command = ["sh", "-c", f"{WAITS}{HAPROXY} {RUNS}"]
    with subprocess.Popen(command, cwd=state / "run", stderr=subprocess.DEVNULL) as running:
        try:
            yield running
        finally:
            running.kill()


def router(state: Path, port: int, **server: str) -> HAProxyRouter:
    """Give a router of it."""
    settings = ServerSettings(host="127.0.0.1", port=port, **server)
    control = state / "run" / "control.sock"
    return HAProxyRouter(settings, state, control, others=Others(free_port(), "ab"), beside=True)


async def test_waited_for_reloaded_and_left_alone(state: Path) -> None:
    """It is waited for, reloaded when its configuration changes with all routes, and goes on when we end."""
    port = free_port()
    with container(state) as running:
        ours = router(state, port)
        await ours.prepare()
        async with upstream("a") as a, aiohttp.ClientSession() as http:
            await ours.add(Route("s", a.address))
            await ours.note("leader", "127.0.0.1:1")
            before = await ours._running()
            changed = router(state, port, cors_allow_origin="https://other.example.org")
            await changed.prepare()
            assert await changed._running() != before
            assert await changed.routes() == {"s": a.address}
            await changed.note("leader", "")
            await changed.shutdown()
            async with http.get(f"http://127.0.0.1:{port}/user/s/") as answer:
                assert answer.status == 200
        assert running.poll() is None


async def test_one_that_is_started_again_knows_its_routes(state: Path) -> None:
    """What its next start needs is on disk; what was noted, too."""
    port = free_port()
    with container(state):
        ours = router(state, port)
        await ours.prepare()
        await ours.add(Route("s", "127.0.0.1:1"))
        await ours.note("synced", "yes")
    with container(state):
        await ours.prepare()
        assert await ours.routes() == {"s": "127.0.0.1:1"}
        assert await ours._client.map_entries("pair.map") == {"synced": "yes"}


async def test_one_that_does_not_come(state: Path) -> None:
    """That nobody starts it is an error that says where to look."""
    process = HAProxyBeside(state / "run", host="127.0.0.1", port=1, timeout=0.1)
    with pytest.raises(RouterUnavailable, match="No HAProxy answers") as caught:
        await process.start()
    assert "container" in caught.value.hint
    assert not await process.reload()
    assert not await process.retire()
    assert await process.port_holder() == ""
    await process.end()
