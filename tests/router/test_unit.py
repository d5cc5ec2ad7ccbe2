"""The real HAProxy, started by somebody else as systemd would."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from binderlet.config.schema import ServerSettings
from binderlet.errors import RouterUnavailable
from binderlet.model import Route
from binderlet.router.haproxy import HAProxyRouter
from binderlet.router.process import find_program
from binderlet.router.unit import HAProxyUnit
from support.routers import folder_for_sockets
from support.upstreams import free_port

pytestmark = [pytest.mark.haproxy, pytest.mark.timeout(60)]


@pytest.fixture
def state() -> Iterator[Path]:
    """A state folder."""
    with folder_for_sockets() as folder:
        yield folder


def router(state: Path, port: int, title: str = "binderlet") -> HAProxyRouter:
    """Make a router that does not start HAProxy by itself."""
    server = ServerSettings(host="127.0.0.1", port=port)
    return HAProxyRouter(server, state, state / "run" / "control.sock", title=title, is_unit=True)


@asynccontextmanager
async def systemd(state: Path) -> AsyncIterator[asyncio.subprocess.Process]:
    """Run HAProxy as the unit does, until the block ends."""
    program = await asyncio.to_thread(find_program, "haproxy")
    command = [program, "-W", "-S", "unix@master.sock,mode,660", "-f", str(state / "run" / "haproxy.cfg")]
    process = await asyncio.create_subprocess_exec(*command, cwd=state / "run", stderr=subprocess.DEVNULL)
    try:
        yield process
    finally:
        process.terminate()
        await process.wait()


async def test_it_is_found_reloaded_and_left(state: Path) -> None:
    """One that runs is used; another configuration is read by the same process; ending the router ends nothing."""
    port = free_port()
    first = router(state, port)
    await asyncio.to_thread(first.write_files)
    await asyncio.to_thread((state / "run" / "routes.map").touch)
    async with systemd(state) as process:
        await first.prepare()
        await first.add(Route("s", "127.0.0.1:9"))
        other = router(state, port, title="Another name")
        await other.prepare()
        assert await other.routes() == {"s": "127.0.0.1:9"}
        master, _ = await other._master.processes()
        assert master == process.pid
        mode = await asyncio.to_thread((state / "run" / "haproxy.sock").stat)
        assert mode.st_mode & 0o777 == 0o660
        await other.shutdown()
        assert (await first.ping()).startswith("HAProxy 2")


async def test_it_is_waited_for(state: Path) -> None:
    """The control plane may be quicker; what runs then has the newest configuration."""
    made = router(state, free_port())
    await asyncio.to_thread(made.write_files)
    await asyncio.to_thread((state / "run" / "routes.map").touch)
    waiting = asyncio.ensure_future(made.prepare())  # noqa: TID251 - awaited below
    await asyncio.sleep(0.3)
    assert not waiting.done()
    async with systemd(state):
        await waiting
        assert await made.routes() == {}


async def test_it_does_not_come(state: Path) -> None:
    """After a while that is an error, which names the unit."""
    with pytest.raises(RouterUnavailable, match=r"binderlet-haproxy\.service") as error:
        await HAProxyUnit(state, host="127.0.0.1", port=1, timeout=0.0).start()
    assert "journalctl" in error.value.hint


async def test_what_is_wrong_is_said_by_haproxy(state: Path) -> None:
    """The configuration is checked as ever, and somebody else on the port is named."""
    unit = HAProxyUnit(state, host="127.0.0.1", port=free_port())
    await asyncio.to_thread(unit.config.write_text, "nonsense\n")
    with pytest.raises(RouterUnavailable, match="refuses its configuration"):
        await unit.check()
    assert await unit.port_holder() == ""
    assert not await unit.retire()
