"""What is kept, over HTTP."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from starlette.applications import Starlette

from binderlet.api.routes import create_admin_app, create_app
from binderlet.config.disk import DiskSettings
from binderlet.errors import EngineUnavailable
from binderlet.images.files import StateFiles
from binderlet.images.housekeeper import Housekeeper
from binderlet.images.pins import Pins
from support.asgi import ask
from support.services import Stage
from support.world import DAY, FakeDisk, FakeStore

GB = 1024**3
SUMS = {"used": 7, "budget": 9}


@dataclass
class Storage:
    """What lies behind the URLs."""

    housekeeper: Housekeeper
    store: FakeStore

    def body(self) -> Mapping[str, Any]:
        """Give some sums."""
        return SUMS


@pytest.fixture
async def storage(tmp_path: Path) -> AsyncIterator[Storage]:
    """Two images; one is larger."""
    disk = FakeDisk(100 * GB)
    store = FakeStore(disk, tmp_path)
    for name, size in (("b/small:1", GB), ("b/large:1", 5 * GB)):
        store.add(name, size, disk.now - DAY)
    keeper = Housekeeper(
        DiskSettings(),
        StateFiles(tmp_path, clock=lambda: disk.now),
        store,
        disk.world(),
        Pins(tmp_path / "pins.json", ["fixed"]),
        spare=0,
    )
    yield Storage(keeper, store)
    await keeper.close()


@pytest.fixture
def admin(stage: Stage, storage: Storage) -> Starlette:
    """The operator's service."""
    return create_admin_app(replace(stage.services(), storage=storage))


async def test_listing(admin: Starlette) -> None:
    """All that is kept, first what would go first."""
    rows = (await ask(admin, "/images")).json()
    assert [row["name"] for row in rows] == ["b/large:1", "b/small:1", "settings, history and caches"]
    assert rows[0]["size"] == 5 * GB


async def test_why(admin: Starlette) -> None:
    """The rows of a name, or 404."""
    (row,) = (await ask(admin, "/images/why?name=b/small:1")).json()
    assert row["rank"] == 2
    missing = await ask(admin, "/images/why?name=nothing")
    assert (missing.status, missing.json()["code"]) == (404, "not_found")


async def test_prune(admin: Starlette, storage: Storage) -> None:
    """What would go is told, and goes when it is meant; a number that is none is refused."""
    (step,) = (await ask(admin, f"/images/prune?bytes={GB}&dry_run=1", method="POST")).json()
    assert step["names"] == ["b/large:1"]
    assert "b/large:1" in storage.store.images
    assert (await ask(admin, f"/images/prune?bytes={GB}", method="POST")).json() == [step]
    assert "b/large:1" not in storage.store.images
    assert (await ask(admin, "/images/prune", method="POST")).json() == []
    assert (await ask(admin, "/images/prune?bytes=much", method="POST")).status == 400


async def test_pins(admin: Starlette) -> None:
    """Pins are added, listed and taken off; those of the settings stay."""
    both = [{"name": "fixed", "fixed": True}, {"name": "b/small:1", "fixed": False}]
    assert (await ask(admin, "/images/pins?name=b/small:1", method="POST")).json() == both
    assert (await ask(admin, "/images/pins")).json() == both
    (row,) = (await ask(admin, "/images/why?name=b/small:1")).json()
    assert row["keep"] == "it is pinned: b/small:1"
    assert (await ask(admin, "/images/pins?name=b/small:1", method="DELETE")).status == 204
    gone = await ask(admin, "/images/pins?name=b/small:1", method="DELETE")
    assert (gone.status, "pin --list" in gone.json()["hint"]) == (404, True)
    fixed = await ask(admin, "/images/pins?name=fixed", method="DELETE")
    assert "disk.pins" in fixed.json()["hint"]
    assert (await ask(admin, "/images/pins?name=", method="POST")).status == 400


async def test_an_engine_that_is_away(admin: Starlette, storage: Storage) -> None:
    """503 and what to do."""
    storage.store.error = EngineUnavailable("away")
    for method, path in (("GET", "/images"), ("GET", "/images/why?name=x"), ("POST", "/images/prune")):
        answer = await ask(admin, path, method=method)
        assert (answer.status, answer.json()["code"]) == (503, "engine_unavailable")


@pytest.fixture
def public(stage: Stage, storage: Storage) -> Starlette:
    """What everyone sees."""
    return create_app(replace(stage.services(), storage=storage))


@pytest.fixture
def without(stage: Stage) -> Starlette:
    """The operator's service where nobody looks after the disk."""
    return create_admin_app(stage.services())


async def test_the_sums_are_for_everyone(public: Starlette, without: Starlette) -> None:
    """The status has the sums, for everyone; the list is the operator's; without a housekeeper there is neither."""
    assert (await ask(public, "/api/status")).json()["storage"] == SUMS
    assert (await ask(public, "/images")).status == 404
    assert (await ask(without, "/status")).json()["storage"] is None
    assert (await ask(without, "/images")).status == 404
