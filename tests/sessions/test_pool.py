"""Standbys on a fake engine: started, adopted once, replaced, found again; never one that does not answer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from binderlet.config.schema import SessionSettings, Settings, StandbySettings
from binderlet.engine.fake import FakeEngine
from binderlet.errors import EngineUnavailable
from binderlet.events.bus import Bus
from binderlet.events.kinds import Fact
from binderlet.model import RepoSpec, Session
from binderlet.router.inprocess import InProcessRouter
from binderlet.sessions import pool as module
from binderlet.sessions.adoptions import Adoption
from binderlet.sessions.book import Sessions
from binderlet.sessions.order import SessionOrder
from binderlet.sessions.pool import IMAGES_EVERY, Pool
from binderlet.sessions.probe import Probe
from binderlet.sessions.standby import STALE, Crowd, Machine
from binderlet.tasks import Tasks
from support.eventually import eventually
from support.values import COMMIT, IMAGE, SPEC

HOST = "http://binder.test/"
ORDER = SessionOrder("launch-1", SPEC, COMMIT, IMAGE.name, HOST, "192.0.2.1", IMAGE.id)
GB = 1024**3
ROOMY = Machine(memory=24 * GB, memory_free=20 * GB)


class Barracks:
    """A control plane with standbys; ``restart`` makes another one on the same engine and folder."""

    def __init__(self, folder: Path, tasks: Tasks) -> None:
        self.folder = folder
        self.tasks = tasks
        self.engine = FakeEngine(serve=True)
        self.router = InProcessRouter()
        self.crowd = Crowd(places=100)
        self.now = 1000.0
        self.facts: list[Fact] = []
        self.prepared: list[RepoSpec] = []
        self.image_id: str | None = IMAGE.id
        self.settings = Settings(
            standby=StandbySettings(every=0, per_image=3, half_life=3600, cover=3600, share=1.0),
            session=SessionSettings(start_timeout=5),
        )
        self.restart()

    def restart(self) -> None:
        """Begin again with what is on disk and what runs."""
        self.bus = Bus()
        self.bus.listen(self.facts.append)
        self.pool = Pool(
            self.engine,
            self.settings,
            self.tasks,
            state=self.folder,
            crowd=lambda: self.crowd,
            prepare=self.prepare,
            image_id=self.find_image,
            machine=lambda: ROOMY,
            clock=lambda: self.now,
        )
        self.sessions = Sessions(
            self.pool.engine,
            self.router,
            self.settings,
            self.bus,
            self.tasks,
            standbys=self.pool,
            clock=lambda: self.now,
        )
        self.sessions._probe = Probe(timeout=0.2)

    async def prepare(self, spec: RepoSpec, host: str) -> SessionOrder:
        """Find the image of a reservation."""
        self.prepared.append(spec)
        return replace(ORDER, spec=spec, host=host)

    async def find_image(self, _name: str) -> str | None:
        """Give what the image's name leads to."""
        return self.image_id

    async def fill(self, count: int) -> None:
        """Look until so many are ready, and no more."""
        crowd, self.crowd = self.crowd, Crowd(places=count)

        async def enough() -> bool:
            await self.pool.look()
            return len(self.pool.waiting()) == count

        await eventually(enough)
        self.crowd = crowd

    def demand(self, launches: int = 3) -> None:
        """Remember some launches."""
        for _ in range(launches):
            self.pool._demands.note(ORDER, self.now)

    async def kept(self) -> list[str]:
        """Give the sessions whose adoption is on disk."""
        return list(await asyncio.to_thread(self.pool._files.load))

    async def close(self) -> None:
        """End everything."""
        await self.pool.close()
        await self.sessions.close()
        await self.router.shutdown()
        self.engine.down = False
        await self.engine.close()


@pytest.fixture
async def barracks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Barracks]:
    """Build one."""
    monkeypatch.setattr(module, "LOOK_EVERY", 0.01)
    monkeypatch.setattr(module, "ANSWER_WITHIN", 0.3)
    async with Tasks("test") as tasks:
        barracks = Barracks(tmp_path, tasks)
        await barracks.router.prepare()
        yield barracks
        await barracks.close()


async def test_a_launch_adopts_what_waits(barracks: Barracks) -> None:
    """It gets a session of its own id and token that answers, and that no other launch gets."""
    barracks.demand()
    await barracks.fill(2)
    assert barracks.sessions.running() == {}
    waiting = dict(barracks.pool.waiting())
    barracks.now = 1500.0
    first = await barracks.sessions.start(ORDER)
    second = await barracks.sessions.start(replace(ORDER, launch_id="launch-2", client=""))
    assert {first.id, second.id} == waiting.keys()
    assert first.token != second.token
    assert (first.launch_id, first.created_at, second.launch_id) == ("launch-1", 1500.0, "launch-2")
    assert first.standby == second.standby
    assert barracks.sessions.settled() == {first.id: first, second.id: second}
    assert len(barracks.engine.started) == 2
    variables = [spec.environment for spec in barracks.engine.started]
    assert all(found["BINDER_LAUNCH_HOST"] == HOST and "BINDER_CLIENT_IP" not in found for found in variables)


async def test_ten_launches_with_three_standbys(barracks: Barracks) -> None:
    """Three adopt and seven start; all ten run, each with a session of its own."""
    barracks.demand(10)
    await barracks.fill(3)
    orders = [replace(ORDER, launch_id=f"launch-{number}") for number in range(10)]
    sessions = await asyncio.gather(*map(barracks.sessions.start, orders))
    assert len({session.id for session in sessions}) == 10
    assert [session.launch_id for session in sessions] == [order.launch_id for order in orders]
    assert [bool(session.standby) for session in sessions] == [True] * 3 + [False] * 7
    assert len(barracks.engine.started) == 10


@pytest.mark.parametrize(
    "other",
    [
        {"host": "http://other.test/"},
        {"spec": RepoSpec("gh", "owner/repo/main")},
        {"image_id": "sha256:2"},
        {"commit": replace(COMMIT, ref_url="http://elsewhere.test/")},
    ],
    ids=["host", "spec", "image", "commit"],
)
async def test_a_launch_that_wants_anything_else_starts_its_own(barracks: Barracks, other: dict[str, Any]) -> None:
    """A standby's environment cannot be changed, so it must be right already."""
    barracks.demand(1)
    await barracks.fill(1)
    session = await barracks.sessions.start(replace(ORDER, **other))
    assert session.standby == ""
    assert len(barracks.pool.waiting()) == 1


async def test_standbys_of_an_image_that_was_made_again_are_replaced(barracks: Barracks) -> None:
    """Without any launch: as soon as its name leads to another image, as after a build on a new base."""
    barracks.demand(1)
    await barracks.fill(1)
    (old,) = barracks.pool.waiting()
    barracks.image_id = "sha256:2"
    assert (await barracks.pool.look()).end == {}, "not at every look"
    barracks.now += IMAGES_EVERY
    assert (await barracks.pool.look()).end == {old: STALE}
    await barracks.fill(1)
    session = await barracks.sessions.start(replace(ORDER, image_id="sha256:2"))
    assert session.id not in {old, ""}
    assert session.standby


async def test_without_its_image_a_standby_is_of_no_use(barracks: Barracks) -> None:
    """The next launch builds another one."""
    barracks.demand(1)
    await barracks.fill(1)
    (old,) = barracks.pool.waiting()
    barracks.image_id, barracks.now = "", barracks.now + IMAGES_EVERY
    assert (await barracks.pool.look()).end == {}, "what is not known changes nothing"
    barracks.image_id, barracks.now = None, barracks.now + IMAGES_EVERY
    assert (await barracks.pool.look()).end == {old: STALE}
    assert (await barracks.pool.look()).wanted == {}


async def test_a_standby_that_does_not_answer_is_never_handed_out(barracks: Barracks) -> None:
    """It is ended, and the launch takes the next one or starts its own."""
    barracks.demand()
    await barracks.fill(2)
    dead, well = sorted(barracks.pool.waiting().values(), key=lambda session: session.created_at)
    barracks.engine._hang_up(dead.id)
    with capture_logs() as logs:
        assert (await barracks.sessions.start(ORDER)).id == well.id
    assert "a standby is not handed out" in [entry["event"] for entry in logs]
    await eventually(lambda: dead.id in barracks.engine.stopped)


async def test_a_launch_does_not_wait_for_slow_standbys(barracks: Barracks) -> None:
    """After half a second it starts a session of its own."""
    barracks.demand()
    await barracks.fill(3)
    barracks.engine.silent = True
    start = barracks.tasks.start(barracks.sessions.start(ORDER), name="launch")
    await eventually(lambda: len(barracks.engine.started) == 4)
    barracks.engine.silent = False
    assert (await start).standby == ""


async def test_a_launch_that_is_given_up_leaves_its_standby_to_nobody(barracks: Barracks) -> None:
    """Cancelled in the middle of an adoption, it ends."""
    barracks.demand(1)
    await barracks.fill(1)
    barracks.engine.silent = True
    (standby,) = barracks.pool.waiting()
    start = barracks.tasks.start(barracks.sessions.start(ORDER), name="launch")
    await eventually(lambda: not barracks.pool.waiting())
    start.cancel()
    await asyncio.gather(start, return_exceptions=True)
    await eventually(lambda: standby in barracks.engine.stopped)


async def test_it_is_not_adopted_where_that_cannot_be_kept(barracks: Barracks) -> None:
    """After a restart nobody would know whose session it is."""
    barracks.demand(1)
    await barracks.fill(1)
    (barracks.folder / "standby").mkdir(exist_ok=True)
    (barracks.folder / "standby" / "adopted").write_text("a file")
    assert (await barracks.sessions.start(ORDER)).standby == ""


async def test_it_is_not_adopted_where_it_ends_meanwhile(barracks: Barracks, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between its last answer and its adoption."""
    barracks.demand(1)
    await barracks.fill(1)
    (standby,) = barracks.pool.waiting()
    save = barracks.pool._files.save

    def end_first(session_id: str, adoption: Adoption) -> None:
        save(session_id, adoption)
        loop.call_soon_threadsafe(barracks.pool.ended, replace(session, ended_because="it ran out of memory"))

    loop = asyncio.get_running_loop()
    session = barracks.pool.waiting()[standby]
    monkeypatch.setattr(barracks.pool._files, "save", end_first)
    assert (await barracks.sessions.start(ORDER)).id != standby
    assert await barracks.kept() == []


async def test_a_restart_finds_standbys_and_adopted_sessions(barracks: Barracks) -> None:
    """The ones are back in the pool, the others belong to their launches; none is announced as found."""
    barracks.demand()
    await barracks.fill(2)
    adopted = await barracks.sessions.start(ORDER)
    await barracks.sessions.route(adopted)
    cut_off = await barracks.sessions.start(replace(ORDER, launch_id="launch-2"))
    await barracks.fill(3)
    waiting = set(barracks.pool.waiting())
    await barracks.pool.close()

    barracks.restart()
    await barracks.pool.load()
    found = await barracks.sessions.reconcile()
    assert set(found.found) == {adopted, cut_off}
    assert found.recovered == (cut_off,)
    await eventually(lambda: set(barracks.pool.waiting()) == waiting)
    again = await barracks.sessions.reconcile()
    assert not again.found
    assert set(barracks.pool.waiting()) == waiting
    await barracks.sessions.stop(adopted.id, "stopped")
    assert await barracks.kept() == [cut_off.id]


async def test_what_the_engine_has_lost_is_forgotten(barracks: Barracks) -> None:
    """Standbys and adoptions alike, with the next reconciling."""
    barracks.demand()
    await barracks.fill(2)
    adopted = await barracks.sessions.start(ORDER)
    (standby,) = barracks.pool.waiting()
    for session_id in (adopted.id, standby):
        barracks.engine._hang_up(session_id)
        del barracks.engine._sessions[session_id]
    await barracks.sessions.reconcile()
    await eventually(lambda: not barracks.pool.waiting())

    async def forgotten() -> bool:
        return await barracks.kept() == []

    await eventually(forgotten)


async def test_a_standby_that_ends_is_cleared_away(barracks: Barracks) -> None:
    """Nobody is told of it, and none like it is started until the next launch."""
    barracks.demand()
    await barracks.fill(1)
    (standby,) = barracks.pool.waiting()
    barracks.tasks.start(barracks.sessions.run(), name="watch")
    await eventually(lambda: barracks.sessions._watching)
    barracks.engine.end(standby)
    await eventually(lambda: standby in barracks.engine.stopped)
    assert not barracks.pool.waiting()
    assert barracks.facts == []
    assert (await barracks.pool.look()).start == ""
    barracks.demand()
    assert (await barracks.pool.look()).start != ""


async def test_an_adopted_session_that_ends_is_told_of(barracks: Barracks) -> None:
    """As any session of a launch."""
    gone: list[Session] = []
    barracks.demand()
    await barracks.fill(1)
    barracks.sessions.on_gone(gone.append)
    barracks.tasks.start(barracks.sessions.run(), name="watch")
    await eventually(lambda: barracks.sessions._watching)
    session = await barracks.sessions.start(ORDER)
    barracks.engine.end(session.id)
    await eventually(lambda: [one.launch_id for one in gone] == ["launch-1"])


async def test_sessions_of_launches_pass_unseen(barracks: Barracks) -> None:
    """The pool has nothing to do with them, nor with what it has ended already."""
    barracks.demand(1)
    await barracks.fill(1)
    session = await barracks.sessions.start(replace(ORDER, host="http://other.test/"))
    assert await barracks.pool.engine.list() == [replace(session, created_at=session.created_at)]
    assert barracks.pool.ended(session) == session
    (standby,) = barracks.pool.waiting().values()
    await barracks.pool.end()
    assert barracks.pool.ended(standby) is None
    barracks.pool.before_list()
    barracks.pool._listed_before = frozenset({standby.id})
    assert barracks.pool.sort_out([session]) == [session]
    await barracks.sessions.stop(session.id, "stopped")


async def test_one_that_ended_unseen_is_removed_at_the_next_list(barracks: Barracks) -> None:
    """Its container is still there."""
    barracks.demand()
    await barracks.fill(1)
    (standby,) = barracks.pool.waiting()
    barracks.engine.end(standby)
    await barracks.sessions.reconcile()
    await eventually(lambda: standby in barracks.engine.stopped)


@pytest.mark.parametrize("fault", ["dies_at_once", "images"])
async def test_an_image_that_does_not_start_is_not_tried_again(barracks: Barracks, fault: str) -> None:
    """Until somebody launches it."""
    setattr(barracks.engine, fault, {"dies_at_once": "it ended with exit code 3", "images": ()}[fault])
    barracks.demand()
    assert (await barracks.pool.look()).start != ""
    await eventually(lambda: not barracks.pool._standbys)
    assert (await barracks.pool.look()).start == ""


async def test_one_that_never_answers_is_ended(barracks: Barracks) -> None:
    """Its end while it starts is noticed at once, too."""
    barracks.engine.silent = True
    barracks.demand()
    barracks.tasks.start(barracks.sessions.run(), name="watch")
    await eventually(lambda: barracks.sessions._watching)
    await barracks.pool.look()
    await eventually(lambda: bool(barracks.pool._deaths))
    (starting,) = barracks.pool._deaths
    barracks.engine.end(starting)
    await eventually(lambda: starting in barracks.engine.stopped)
    assert not barracks.pool._standbys


async def test_while_the_engine_is_away_nothing_is_lost(barracks: Barracks) -> None:
    """What cannot be started is tried again, what cannot be ended comes back."""
    barracks.demand()
    await barracks.fill(1)
    (standby,) = barracks.pool.waiting()
    barracks.engine.down = True
    assert (await barracks.pool.look()).start != ""
    await eventually(lambda: set(barracks.pool._standbys) == {standby})
    await barracks.pool.end()
    barracks.engine.down = False
    await barracks.sessions.reconcile()
    await eventually(lambda: set(barracks.pool.waiting()) == {standby})
    assert (await barracks.pool.look()).start != ""


async def test_launches_take_the_place_of_standbys(barracks: Barracks) -> None:
    """A launch that needs the place ends a standby before it starts."""
    barracks.demand()
    await barracks.fill(2)
    barracks.crowd = Crowd(places=3, taken=2)
    session = await barracks.sessions.start(replace(ORDER, host="http://other.test/"))
    assert session.standby == ""
    assert len(barracks.engine.stopped) == 1
    assert len(barracks.pool.waiting()) == 1


async def test_one_that_still_starts_can_be_ended(barracks: Barracks) -> None:
    """Its start is given up first."""
    barracks.engine.delay = 60
    barracks.demand()
    await barracks.pool.look()
    await barracks.pool.end()
    assert not barracks.pool._standbys


async def test_a_starting_one_that_the_engine_lost_is_given_up(barracks: Barracks) -> None:
    """Nobody waits for its answer."""
    barracks.engine.silent = True
    barracks.demand()
    await barracks.pool.look()
    await eventually(lambda: bool(barracks.pool._deaths))
    barracks.engine._sessions.clear()
    await barracks.sessions.reconcile()
    await eventually(lambda: not barracks.pool._standbys and not barracks.pool._deaths)


async def test_reservations_are_met_and_counted(barracks: Barracks) -> None:
    """They are started without any launch before, and shown with how many are ready."""
    made = await barracks.pool.reservations.add(SPEC, HOST, 2, 1000, 2000)
    await barracks.fill(2)
    assert barracks.prepared == [SPEC]
    assert barracks.pool.reserved() == [(made, 2)]
    await barracks.sessions.start(ORDER)
    assert [(one.launched, ready) for one, ready in barracks.pool.reserved()] == [(1, 1)]


async def test_a_reservation_wakes_the_loop(barracks: Barracks) -> None:
    """Also where nothing was launched before."""
    barracks.tasks.start(barracks.pool.run(), name="standbys")
    await asyncio.sleep(0.05)
    await barracks.pool.reservations.add(SPEC, HOST, 1, 1000, 2000)
    await eventually(lambda: len(barracks.pool.waiting()) == 1)


async def test_the_loop_goes_on_whatever_happens(barracks: Barracks, monkeypatch: pytest.MonkeyPatch) -> None:
    """It sleeps while there is nothing to do, and outlives every fault."""
    faults: list[Exception] = [EngineUnavailable("away"), RuntimeError("broken")]
    look = barracks.pool.look
    looks = 0

    async def faulty() -> object:
        nonlocal looks
        looks += 1
        if faults:
            raise faults.pop()
        return await look()

    monkeypatch.setattr(barracks.pool, "look", faulty)
    barracks.tasks.start(barracks.pool.run(), name="standbys")
    await eventually(lambda: looks == 1)
    barracks.pool._changed.set()
    await eventually(lambda: looks == 2)
    barracks.pool._changed.set()
    await eventually(lambda: looks == 3)
    assert not barracks.pool._standbys
    await barracks.sessions.start(ORDER)
    await eventually(lambda: len(barracks.pool.waiting()) > 0)
    seen = looks
    await eventually(lambda: looks > seen + 1)


async def test_with_nothing_to_do_it_looks_at_the_time(barracks: Barracks, monkeypatch: pytest.MonkeyPatch) -> None:
    """Now and then, without any launch: something may be usual at this hour."""
    monkeypatch.setattr(module, "LOOK_IDLE", 0.01)
    looks = 0

    async def look() -> None:
        nonlocal looks
        looks += 1
        await asyncio.sleep(0)

    monkeypatch.setattr(barracks.pool, "look", look)
    barracks.tasks.start(barracks.pool.run(), name="standbys")
    await eventually(lambda: looks > 3)
