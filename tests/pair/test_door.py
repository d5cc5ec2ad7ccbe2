"""What each says to the others."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from binderlet.errors import RouterUnavailable
from binderlet.model import Route
from binderlet.pair.door import FILES, LARGEST, Door, read_files, write_files
from binderlet.pair.peers import Peers, by_address
from binderlet.pair.router import PairRouter
from binderlet.router.inprocess import InProcessRouter
from support.asgi import ask


@pytest.fixture
async def router() -> AsyncIterator[InProcessRouter]:
    """A data path."""
    made = InProcessRouter()
    await made.prepare()
    yield made
    await made.shutdown()


@pytest.fixture
def door(router: InProcessRouter, tmp_path: Path) -> Door:
    """One that does not lead."""
    return Door(router, tmp_path)


async def test_alive(door: Door) -> None:
    """Whoever asks is told that this one lives."""
    assert (await ask(door.app, "/pair/alive")).status == 200


async def test_what_was_counted(door: Door, router: InProcessRouter, monkeypatch: pytest.MonkeyPatch) -> None:
    """Counters of each session; an error where the data path does not answer."""
    await router.add(Route("s", "127.0.0.1:1"))
    router._count("s", requests=2, came=3, went=4)
    assert (await ask(door.app, "/pair/traffic")).json() == {"s": [0, 2, 3, 4]}

    async def away() -> None:
        raise RouterUnavailable("HAProxy is away.")

    monkeypatch.setattr(router, "traffic", away)
    assert (await ask(door.app, "/pair/traffic")).status == 503


async def test_what_the_next_leader_should_know(door: Door, router: InProcessRouter, tmp_path: Path) -> None:
    """Only the leader tells, and tells again only what changed."""
    assert (await ask(door.app, "/pair/state")).status == 404
    await asyncio.to_thread((tmp_path / "pins.json").write_text, "[1]")
    leading = PairRouter(router, Peers(by_address([]), "x"))
    await leading.add(Route("s", "127.0.0.1:1"))
    door.leading = leading
    answer = await ask(door.app, "/pair/state")
    assert answer.json() == {"files": {"pins.json": "[1]"}, "announced": ["s"]}
    again = await ask(door.app, "/pair/state", {"if-none-match": answer.headers["etag"]})
    assert (again.status, again.body) == (304, b"")


def test_files_are_carried_over(tmp_path: Path) -> None:
    """What one reads the other writes; a file that is too large stays, an unknown name is not written."""
    one, other = tmp_path / "one", tmp_path / "other"
    (one / "standby").mkdir(parents=True)
    for name in FILES:
        (one / name).write_text(name)
    (one / FILES[0]).write_bytes(b"x" * (LARGEST + 1))
    found = read_files(one)
    assert set(found) == set(FILES[1:])
    other.mkdir()
    told = {"files": {**found, "../evil": "x"}, "announced": ["s"]}
    assert write_files(other, told) == {"s"}
    assert read_files(other) == found
    assert not (tmp_path / "evil").exists()
    with pytest.raises(KeyError):
        write_files(other, {"files": {}})
