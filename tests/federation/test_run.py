"""A whole redirector on a real port, before members on loopback ports."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import aiohttp
import pytest

from binderlet.errors import AddressInUse
from binderlet.federation import run as module
from binderlet.federation.config import read
from binderlet.federation.run import FileWatch, Place, Running, listen, running, serve
from binderlet.tasks import Tasks
from support.eventually import eventually
from support.members import FakeMember

pytestmark = pytest.mark.timeout(90)

PATIENCE = 30.0
CHECK = {"period": 0.1, "jitter": 0, "timeout": 5, "retries": 2, "failed_period": 0.1}


@pytest.fixture
def members() -> Iterator[list[FakeMember]]:
    """Three members."""
    made = [FakeMember(name) for name in "abc"]
    for member in made:
        member.start()
    yield made
    for member in made:
        member.close()


def write(path: Path, members: list[FakeMember], **keys: object) -> Path:
    """Write the file as mybinder.org's."""
    hosts = {one.name: {"url": one.base, "weight": 1, "prime": one is members[0]} for one in members}
    path.write_text(json.dumps({"host": "http://fed.test", "check": CHECK, "hosts": hosts} | keys))
    return path


@pytest.fixture
async def now(tmp_path: Path, members: list[FakeMember]) -> AsyncIterator[Running]:
    """A redirector of them."""
    path = write(tmp_path / "config.json", members)
    async with running(path, await asyncio.to_thread(read, path), Place(port=0)) as found:
        yield found


@pytest.fixture
async def client() -> AsyncIterator[aiohttp.ClientSession]:
    """A client that follows nothing."""
    async with aiohttp.ClientSession() as session:
        yield session


async def where(client: aiohttp.ClientSession, port: int, path: str) -> str:
    """Where a launch is sent."""
    async with client.get(f"http://127.0.0.1:{port}{path}", allow_redirects=False) as answer:
        assert answer.status == 307
        return answer.headers["location"].rpartition("/build/")[0]


async def test_launches_and_pages(now: Running, client: aiohttp.ClientSession, members: list[FakeMember]) -> None:
    """Launches are spread, pages come from the prime."""
    found = {await where(client, now.port, f"/build/gh/o/r{number}/HEAD") for number in range(40)}
    assert found == {member.base for member in members}
    async with client.get(f"http://127.0.0.1:{now.port}/page") as answer:
        assert await answer.text() == "page of a"


async def test_a_member_goes_and_comes_back(
    now: Running, client: aiohttp.ClientSession, members: list[FakeMember]
) -> None:
    """After the probe that finds a member ill no launch goes there; once it is well it gets launches again."""
    members[1].state.checks = [{"service": "JupyterHub API", "ok": False}]
    await eventually(lambda: "b" not in now.redirector.active_hosts(), seconds=PATIENCE)
    found = {await where(client, now.port, f"/build/gh/o/r{number}/HEAD") for number in range(40)}
    assert members[1].base not in found
    members[1].state.checks = []
    await eventually(lambda: "b" in now.redirector.active_hosts(), seconds=PATIENCE)


async def test_one_probe_a_period(now: Running, members: list[FakeMember]) -> None:
    """A member is asked for health and versions once each a period."""
    await eventually(lambda: members[2].paths().count("/health") >= 5, seconds=PATIENCE)
    paths = members[2].paths()
    assert abs(paths.count("/health") - paths.count("/versions")) <= 1


async def test_reload_without_a_dropped_request(
    now: Running, client: aiohttp.ClientSession, members: list[FakeMember], tmp_path: Path
) -> None:
    """While requests come all the time the file changes, is wrong for a while, and changes again: none fails."""
    done = asyncio.Event()
    seen: list[str] = []

    async def ask() -> None:
        while not done.is_set():
            seen.append(await where(client, now.port, f"/build/gh/o/r{len(seen)}/HEAD"))
            await asyncio.sleep(0.001)

    async with asyncio.TaskGroup() as group:
        group.create_task(ask())
        await asyncio.to_thread(write, tmp_path / "config.json", members[:2])
        await eventually(lambda: set(now.redirector.federation.members) == {"a", "b"}, seconds=PATIENCE)
        await asyncio.to_thread((tmp_path / "config.json").write_text, "{")
        now.reload_soon()
        await asyncio.sleep(1.5)
        assert set(now.redirector.federation.members) == {"a", "b"}
        await asyncio.to_thread(write, tmp_path / "config.json", members)
        await eventually(lambda: set(now.redirector.active_hosts()) == {"a", "b", "c"}, seconds=PATIENCE)
        done.set()
    assert seen


async def test_until_a_signal(tmp_path: Path, members: list[FakeMember]) -> None:
    """SIGHUP reads the file again, SIGTERM ends it in good order, and the counts of budgets are kept."""
    path = await asyncio.to_thread(write, tmp_path / "config.json", members)
    ready: asyncio.Future[Running] = asyncio.get_running_loop().create_future()
    async with Tasks("test") as tasks:
        work = tasks.start(serve(path, Place(port=0, ledger=tmp_path / "ledger.json"), ready.set_result), name="serve")
        now = await ready
        await asyncio.to_thread(write, path, members[:1])
        os.kill(os.getpid(), signal.SIGHUP)
        await eventually(lambda: set(now.redirector.federation.members) == {"a"}, seconds=PATIENCE)
        os.kill(os.getpid(), signal.SIGTERM)
        await work
    assert (tmp_path / "ledger.json").exists()


def test_a_port_that_is_taken() -> None:
    """A port that another program has is said, also for IPv6."""
    first = listen("127.0.0.1", 0)
    with first, pytest.raises(AddressInUse, match="cannot be listened on"):
        listen("127.0.0.1", first.getsockname()[1])
    listen("::1", 0).close()


def test_watching_a_file(tmp_path: Path) -> None:
    """A change is told once; a file that is away for a moment is none."""
    path = tmp_path / "f"
    path.write_text("a")
    watch = FileWatch(path)
    assert not watch.changed()
    path.write_text("ab")
    assert watch.changed()
    assert not watch.changed()
    path.unlink()
    assert not watch.changed()
    path.write_text("abc")
    assert watch.changed()


async def test_counts_are_kept(tmp_path: Path, members: list[FakeMember], monkeypatch: pytest.MonkeyPatch) -> None:
    """The counts of budgets are written now and then."""
    monkeypatch.setattr(module, "SAVE_EVERY", 1)
    monkeypatch.setattr(module, "TICK", 0.02)
    path = await asyncio.to_thread(write, tmp_path / "config.json", members)
    kept = tmp_path / "ledger.json"
    async with running(path, await asyncio.to_thread(read, path), Place(port=0, ledger=kept)):
        await eventually(lambda: asyncio.to_thread(kept.exists), seconds=PATIENCE)
