"""Who looks after the disk, in a running service."""

from __future__ import annotations

import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import aiohttp
import pytest
from prometheus_client import CollectorRegistry, generate_latest

from binderlet.app.machinery import Shelf
from binderlet.app.upkeep import Parts, Upkeep
from binderlet.config import Settings
from binderlet.events.store import History
from binderlet.images.stock import EngineStock
from support.app import ask, launch, served, settings
from support.gitserver import make_repository
from support.world import DAY, FakeDisk, FakeStore

GB = 1024**3


def build(image: str, state: str) -> SimpleNamespace:
    """Make a build as ``Builds`` knows it."""
    return SimpleNamespace(id=f"id-{image}", image=image, state=state, commit=SimpleNamespace(clone_url=f"url-{image}"))


def parts_of(folder: Path) -> Parts:
    """Two builds that go on, one that ended; a session that runs; a reservation."""
    builds = [build("a", "waiting"), build("b", "running"), build("c", "success")]
    running: dict[str, Any] = {"s": SimpleNamespace(image="r"), "t": SimpleNamespace(image="a")}
    return Parts(
        cast("Any", SimpleNamespace(known=lambda: builds)),
        cast("Any", SimpleNamespace(running=lambda: running)),
        lambda: 0,
        History(folder / "history.sqlite"),
        [lambda: {"reserved": "it is reserved"}],
    )


def test_needs(tmp_path: Path) -> None:
    """What is being built, what runs and what is reserved is needed."""
    needs = parts_of(tmp_path).needs()
    assert needs.building == {"id-a", "id-b"}
    assert needs.fetching == ["url-a", "url-b"]
    assert needs.images == {
        "a": "it is being built",
        "b": "it is being built",
        "r": "a session runs it",
        "reserved": "it is reserved",
    }


async def test_sums_and_metrics(tmp_path: Path) -> None:
    """Before the first look there are no sums; then the status page and the metrics have the same."""
    disk = FakeDisk(0)
    store = FakeStore(disk, tmp_path)
    store.add("b/i-x:1", GB, disk.now - DAY)

    async def bases() -> tuple[str, ...]:
        return ()

    wanted = Settings.model_validate({"disk": {"budget": 10 * GB}})
    parts = parts_of(tmp_path)
    upkeep = Upkeep(wanted, tmp_path, Shelf(cast("EngineStock", store), bases), parts)
    registry = CollectorRegistry()
    upkeep.measured_by(registry)
    assert upkeep.body()["used"] is None
    assert b'binderlet_disk_bytes{kind="image"}' not in generate_latest(registry)
    await upkeep.housekeeper.measure()
    upkeep.housekeeper.freed["log"] += 7
    body = upkeep.body()
    assert body["used"] >= GB
    assert body["budget"] == 10 * GB
    assert body["kinds"]["image"] == GB
    text = generate_latest(registry).decode()
    assert 'binderlet_disk_bytes{kind="image"} 1.073741824e+09' in text
    assert 'binderlet_disk_freed_bytes_total{kind="log"} 7.0' in text
    assert "binderlet_disk_budget_bytes 1.073741824e+10" in text
    assert upkeep.pin_of("b/i-x:1") == ""
    await parts.history.close()
    await upkeep.housekeeper.pin("elsewhere:1")
    assert upkeep.pin_of("elsewhere:1") == "it is pinned: elsewhere:1"
    assert await asyncio.to_thread(upkeep.free, tmp_path) < 9.5 * GB, "a little may have gone from the real disk since"
    await upkeep.housekeeper.close()


@pytest.mark.haproxy
async def test_in_a_running_service(tmp_path: Path) -> None:
    """The log of a build is among what is kept, the status has the sums, and pins outlive a restart."""
    wanted = settings(tmp_path / "s", disk={"pins": ["github.com/fixed"]})
    await asyncio.to_thread(make_repository, tmp_path / "git" / "repo", {"README.md": "Hello"})
    async with served(wanted) as handle, aiohttp.ClientSession() as session:
        event = await launch(session, handle.url, f"file://{tmp_path}/git/repo")
        assert event["phase"] == "ready", event
        status, rows = await ask(wanted.paths.state, "GET", "/images")
        assert status == 200
        assert {row["kind"] for row in cast("Any", rows)} >= {"log", "mirror", "state"}
        assert (await ask(wanted.paths.state, "POST", "/images/pins?name=github.com/o"))[0] == 200
        async with session.get(f"{handle.url}api/status") as answer:
            assert (await answer.json())["storage"]["used"] > 0
        async with session.get(f"{handle.url}metrics") as answer:
            assert "binderlet_disk_room_bytes " in await answer.text()
    async with served(wanted):
        _, pins = await ask(wanted.paths.state, "GET", "/images/pins")
        assert [pin["name"] for pin in cast("Any", pins)] == ["github.com/fixed", "github.com/o"]
