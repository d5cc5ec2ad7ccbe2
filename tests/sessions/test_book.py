"""The sessions of a service: what is started answers, what ends is told once, what was lost is found."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import cast

import pytest
from structlog.testing import capture_logs

from binderlet.config.schema import SessionSettings, Settings
from binderlet.engine.fake import FakeEngine
from binderlet.errors import (
    EngineUnavailable,
    ImageMissing,
    RouterUnavailable,
    SessionDied,
    SessionNotFound,
    SessionSilent,
)
from binderlet.events.bus import Bus
from binderlet.events.kinds import Fact, SessionEnded
from binderlet.model import Route, Session, SessionSpec, SessionState
from binderlet.router.inprocess import InProcessRouter
from binderlet.sessions import book as book_module
from binderlet.sessions.book import Sessions
from binderlet.sessions.command import session_spec
from binderlet.sessions.order import SessionOrder
from binderlet.sessions.pool import Pool
from binderlet.sessions.probe import Probe
from binderlet.sessions.reconcile import Reconciled
from binderlet.tasks import Tasks
from support.eventually import eventually
from support.values import COMMIT, IMAGE, SPEC

ORDER = SessionOrder("launch-1", SPEC, COMMIT, IMAGE.name, "http://binder.test/")
SETTINGS = Settings(session=SessionSettings(start_timeout=5, start_concurrency=2))


class SilentProbe(Probe):
    """Never gets an answer."""

    async def why_not_ready(self, session: Session) -> str:
        """Say no."""
        return f"{session.id} does not answer"


class House:
    """Sessions on a fake engine and an in-process router, with what was told about them."""

    def __init__(self, engine: FakeEngine, router: InProcessRouter, tasks: Tasks) -> None:
        self.engine = engine
        self.router = router
        self.tasks = tasks
        self.now = 1000.0
        self.facts: list[Fact] = []
        self.gone: list[str] = []
        self.results: list[Reconciled] = []
        self.opened: list[Sessions] = []
        self.sessions = self.open()

    def open(self, settings: Settings = SETTINGS) -> Sessions:
        """Make a control plane, as a new process does."""
        bus = Bus()
        bus.listen(self.facts.append)
        sessions = Sessions(self.engine, self.router, settings, bus, self.tasks, clock=lambda: self.now)
        sessions._probe = Probe(timeout=0.2)
        sessions.on_gone(lambda session: self.gone.append(session.launch_id))
        sessions.on_reconciled(self.results.append)
        self.sessions = sessions
        self.opened.append(sessions)
        return sessions

    async def start(self, launch_id: str = "launch-1") -> Session:
        """Start a session and lead visitors to it."""
        session = await self.sessions.start(replace(ORDER, launch_id=launch_id))
        await self.sessions.route(session)
        return session

    def watch(self) -> None:
        """Notice from now on what ends."""
        self.tasks.start(self.sessions.run(), name="watch")

    def ends(self) -> list[tuple[str, str]]:
        """Give the ends that were told: session and reason."""
        return [(fact.session.id, fact.reason) for fact in self.facts if isinstance(fact, SessionEnded)]


@pytest.fixture
async def house(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[House]:
    """Build a house and leave nothing of it."""
    monkeypatch.setattr(book_module, "FIRST_PAUSE", 0.02)
    monkeypatch.setattr(book_module, "SETTLED", 0.02)
    engine, router = FakeEngine(serve=True), InProcessRouter()
    await router.prepare()
    async with Tasks("test") as tasks:
        house = House(engine, router, tasks)
        yield house
    for sessions in house.opened:
        await sessions.close()
    await router.shutdown()
    engine.down = False
    await engine.close()


async def test_a_started_session_answers_and_is_listed(house: House) -> None:
    """It runs when start returns; visitors are led to it when its launch says so."""
    session = await house.sessions.start(ORDER)
    assert session.state is SessionState.RUNNING
    assert house.sessions.running() == {session.id: session} == house.sessions.settled()
    assert house.sessions.per_repository() == {COMMIT.repo_url: 1}
    assert await house.router.routes() == {}
    await house.sessions.route(session)
    assert await house.router.routes() == {session.id: session.address}
    assert house.engine.started[0].environment["BINDER_LAUNCH_HOST"] == "http://binder.test/"
    assert not await house.sessions.is_busy(session)


class OneStandby:
    """A pool with one session."""

    def __init__(self, *standbys: Session) -> None:
        self.standbys = list(standbys)
        self.asked_for_room = 0

    async def take(self, _order: SessionOrder) -> Session | None:
        """Give it once."""
        return self.standbys.pop() if self.standbys else None

    async def make_room(self) -> None:
        """Count."""
        self.asked_for_room += 1


async def test_a_launch_adopts_what_was_started_ahead(house: House) -> None:
    """It is listed as running at once; the next launch starts its own, after standbys made room for it."""
    standby = await house.engine.start(session_spec(ORDER, SETTINGS, now=1000.0, standby="key"))
    pool = OneStandby(standby)
    house.sessions._standbys = cast("Pool", pool)
    assert await house.sessions.start(ORDER) == standby
    assert house.sessions.settled() == {standby.id: standby}
    assert pool.asked_for_room == 0
    assert (await house.sessions.start(ORDER)).standby == ""
    assert pool.asked_for_room == 1


async def test_what_starts_is_listed_as_starting(house: House) -> None:
    """Sessions that do not answer yet are counted, but not judged."""
    house.engine.silent = True
    starting = house.tasks.start(house.sessions.start(ORDER), name="start")
    await eventually(lambda: len(house.sessions.running()) == 1)
    (session,) = house.sessions.running().values()
    assert session.state is SessionState.STARTING
    assert house.sessions.settled() == {}
    house.engine.silent = False
    await starting
    assert house.sessions.settled() == house.sessions.running()


async def test_only_so_many_start_at_the_same_time(house: House) -> None:
    """The others wait for their turn; their age counts from when it came."""
    house.engine.delay = 0.05
    starts = [house.tasks.start(house.sessions.start(ORDER), name="start") for _ in range(4)]
    await asyncio.sleep(0.02)
    assert len(house.engine.started) == 2
    house.now = 2000.0
    await asyncio.gather(*starts)
    assert [spec.created_at for spec in house.engine.started] == [1000.0, 1000.0, 2000.0, 2000.0]


async def test_a_start_that_the_engine_refuses_leaves_nothing(house: House) -> None:
    """Its error passes through."""
    house.engine.images = set()
    with pytest.raises(ImageMissing):
        await house.sessions.start(ORDER)
    assert house.sessions.running() == {}


async def test_a_session_that_dies_while_it_starts_is_removed(house: House) -> None:
    """The watch tells it at once; nothing is told of a session that never was."""
    house.watch()
    house.engine.silent = True
    starting = house.tasks.start(house.sessions.start(ORDER), name="start")
    await eventually(lambda: len(house.sessions.running()) == 1)
    (session_id,) = house.sessions.running()
    await asyncio.sleep(0.1)
    house.engine.end(session_id, "it ran out of memory")
    with pytest.raises(SessionDied, match="it ran out of memory"):
        await starting
    assert house.engine.stopped == [session_id]
    assert (house.sessions.running(), house.facts, house.gone) == ({}, [], [])


async def test_a_session_that_never_answers_is_removed(house: House) -> None:
    """After its deadline it is ended."""
    sessions = house.open(Settings(session=SessionSettings(start_timeout=0.2)))
    house.engine.silent = True
    with pytest.raises(SessionSilent):
        await sessions.start(ORDER)
    assert await house.engine.list() == []


async def test_a_cancelled_start_leaves_nothing(house: House) -> None:
    """Whoever gives up a launch pays for no session."""
    house.engine.silent = True
    starting = house.tasks.start(house.sessions.start(ORDER), name="start")
    await eventually(lambda: len(house.sessions.running()) == 1)
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting
    assert (house.sessions.running(), await house.engine.list()) == ({}, [])


async def test_a_failed_start_that_cannot_be_removed_is_removed_later(house: House) -> None:
    """While the engine is away the session is remembered as unwanted; reconciling ends it."""
    house.engine.silent = True
    starting = house.tasks.start(house.sessions.start(ORDER), name="start")
    await eventually(lambda: len(house.sessions.running()) == 1)
    house.engine.down = True
    starting.cancel()
    with capture_logs() as logs, pytest.raises(asyncio.CancelledError):
        await starting
    assert [line["event"] for line in logs] == ["a session that failed cannot be ended yet"]
    with pytest.raises(EngineUnavailable):
        await house.sessions.reconcile()
    house.engine.down = False
    await house.sessions.reconcile()
    assert (house.sessions.running(), await house.engine.list(), house.gone) == ({}, [], [])


async def test_stopping_removes_route_and_session_and_tells_it_once(house: House) -> None:
    """However many ask for it, the first reason is told."""
    session = await house.start()
    await asyncio.gather(
        house.sessions.stop(session.id, "culled: idle"),
        house.sessions.stop(session.id, "stopped"),
    )
    await house.sessions.stop(session.id, "stopped")
    assert (await house.router.routes(), await house.engine.list()) == ({}, [])
    assert (house.ends(), house.gone) == ([(session.id, "culled: idle")], ["launch-1"])


async def test_everyone_who_stops_a_session_waits_until_it_is_gone(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second one does not stop it again, and reconciling leaves a stop that goes on alone."""
    session = await house.start()
    stop, go_on = house.engine.stop, asyncio.Event()

    async def slow_stop(session_id: str) -> None:
        await go_on.wait()
        await stop(session_id)

    monkeypatch.setattr(house.engine, "stop", slow_stop)
    stops = [house.tasks.start(house.sessions.stop(session.id, "stopped"), name="stop") for _ in range(2)]
    await asyncio.sleep(0)
    assert not (await house.sessions.reconcile()).changed
    assert not any(one.done() for one in stops)
    go_on.set()
    await asyncio.gather(*stops)
    assert house.engine.stopped == [session.id]
    assert house.ends() == [(session.id, "stopped")]


async def test_an_operator_learns_that_there_is_no_such_session(house: House) -> None:
    """Others may end what is gone already."""
    with pytest.raises(SessionNotFound, match="'nobody'"):
        await house.sessions.stop("nobody", "stopped", must_exist=True)
    await house.sessions.stop("nobody", "stopped")
    assert house.facts == []


async def test_a_stop_while_the_engine_is_away_is_done_later(house: House) -> None:
    """The error says that it did not happen; reconciling does it, and does not give the route back meanwhile."""
    session = await house.start()
    house.engine.down = True
    with pytest.raises(EngineUnavailable):
        await house.sessions.stop(session.id, "stopped")
    assert session.id in house.sessions.running()
    house.engine.down = False
    await house.sessions.reconcile()
    assert (await house.engine.list(), await house.router.routes()) == ([], {})
    assert house.ends() == [(session.id, "stopped")]


async def test_a_stop_while_the_router_is_away_removes_the_route_later(house: House) -> None:
    """The session ends all the same."""
    session = await house.start()
    await house.router.shutdown()
    await house.sessions.stop(session.id, "stopped")
    assert house.ends() == [(session.id, "stopped")]
    await house.router.prepare()
    await house.sessions.reconcile()
    assert await house.router.routes() == {}


async def test_a_session_that_died_gets_no_route(house: House) -> None:
    """Between its answer and its route a session may end; its launch learns it."""
    session = await house.sessions.start(ORDER)
    await house.sessions.stop(session.id, "died")
    with pytest.raises(SessionDied, match="before visitors"):
        await house.sessions.route(session)
    assert await house.router.routes() == {}


async def test_a_session_that_dies_while_it_is_routed_keeps_no_route(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whichever comes first, no route stays."""
    session = await house.sessions.start(ORDER)
    add = house.router.add

    async def slow_add(route: Route) -> None:
        await house.sessions.stop(session.id, "died")
        await add(route)

    monkeypatch.setattr(house.router, "add", slow_add)
    with pytest.raises(SessionDied):
        await house.sessions.route(session)
    assert await house.router.routes() == {}


async def test_without_a_router_a_launch_fails(house: House) -> None:
    """The error passes through, and the session is still there to be ended."""
    session = await house.sessions.start(ORDER)
    await house.router.shutdown()
    with pytest.raises(RouterUnavailable):
        await house.sessions.route(session)
    assert session.id in house.sessions.running()


@pytest.mark.parametrize(("exit_code", "reason"), [(137, "died"), (0, "stopped")])
async def test_a_session_that_ends_by_itself_is_noticed(house: House, exit_code: int, reason: str) -> None:
    """Its route is removed, what is left of it too, and its end is told with the engine's words for it."""
    session = await house.start()
    house.watch()
    await asyncio.sleep(0.1)
    house.engine.end(session.id, "it was killed", exit_code)
    await eventually(lambda: bool(house.gone))
    (fact,) = house.facts
    assert isinstance(fact, SessionEnded)
    assert (fact.session.id, fact.reason, fact.session.ended_because) == (session.id, reason, "it was killed")
    assert (await house.router.routes(), await house.engine.list()) == ({}, [])


async def test_while_the_engine_is_away_nothing_is_dropped(house: House) -> None:
    """Sessions and routes stay, and what ended meanwhile is noticed when the engine is back."""
    stays, ends = await house.start("launch-1"), await house.start("launch-2")
    house.watch()
    await asyncio.sleep(0.1)
    with capture_logs() as logs:
        house.engine.down = True
        await asyncio.sleep(0.2)
        assert house.sessions.running().keys() == {stays.id, ends.id} == (await house.router.routes()).keys()
        house.engine.end(ends.id)
        house.engine.down = False
        await eventually(lambda: bool(house.gone))
    assert house.gone == ["launch-2"]
    assert (await house.router.routes()).keys() == {stays.id}
    assert "the engine cannot be watched; will try again" in [line["event"] for line in logs]


async def test_an_engine_that_can_be_watched_but_not_listed_is_caught_up_with_later(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The watch goes on."""
    session = await house.start()
    asked = asyncio.Event()

    async def away() -> list[Session]:
        asked.set()
        raise EngineUnavailable("It is busy.")

    monkeypatch.setattr(house.engine, "list", away)
    house.watch()
    await asked.wait()
    house.engine.end(session.id)
    await eventually(lambda: bool(house.gone))


async def test_an_end_that_cannot_be_cleaned_up_is_cleaned_up_later(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The engine says that a session ended and is away before it can be removed."""
    session = await house.start()
    stop = house.engine.stop

    async def away(_session_id: str) -> None:
        raise EngineUnavailable("It was restarted.")

    monkeypatch.setattr(house.engine, "stop", away)
    house.watch()
    await asyncio.sleep(0.1)
    with capture_logs() as logs:
        house.engine.end(session.id)
        await eventually(lambda: bool(logs))
    assert logs[0]["event"] == "an ended session cannot be removed yet"
    monkeypatch.setattr(house.engine, "stop", stop)
    await house.sessions.reconcile()
    assert house.ends() == [(session.id, "died")]


async def test_a_watch_that_breaks_is_begun_again(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """Even a mistake of ours does not end the watch for good."""
    session = await house.start()
    watch, broken = house.engine.watch, [True]

    def watch_later() -> AsyncIterator[Session]:
        if broken.pop():
            raise ValueError("broken")
        return watch()

    monkeypatch.setattr(house.engine, "watch", watch_later)
    broken.insert(0, False)
    with capture_logs() as logs:
        house.watch()
        await asyncio.sleep(0.15)
        house.engine.end(session.id)
        await eventually(lambda: bool(house.gone))
    assert "watching the engine broke; will try again" in [line["event"] for line in logs]


async def test_the_end_of_a_session_that_nobody_knows_is_left_to_reconciling(house: House) -> None:
    """An earlier control plane's session ends before this one has looked."""
    session = await house.start()
    house.open()
    await house.sessions._end_by_itself(house.engine.end(session.id))
    assert house.ends() == []
    await house.sessions.reconcile()
    assert house.ends() == [(session.id, "died")]


async def test_a_restart_finds_everything_again(house: House) -> None:
    """Sessions with routes go on as if nothing had been; a second look finds nothing new."""
    sessions = [await house.start(f"launch-{number}") for number in range(3)]
    house.open()
    result = await house.sessions.reconcile()
    assert (result.sessions, len(result.found), result.recovered) == (3, 3, ())
    assert house.sessions.running().keys() == {session.id for session in sessions}
    assert house.sessions.running()[sessions[0].id].token == sessions[0].token
    assert not (await house.sessions.reconcile()).changed
    assert house.results == [result]


async def test_a_launch_that_was_cut_off_is_recovered(house: House) -> None:
    """A session without a route is given back to its launch, and routed once it answers."""
    session = await house.sessions.start(ORDER)
    house.open()
    result = await house.sessions.reconcile()
    assert [found.launch_id for found in result.recovered] == ["launch-1"]
    assert await house.router.routes() == {session.id: session.address}
    (recovered,) = result.recovered
    await house.sessions.wait_ready(recovered)
    await house.sessions.route(recovered)
    await house.sessions.stop(session.id, "stopped")
    assert house.gone == ["launch-1"]


async def test_a_recovered_session_that_does_not_answer_yet_is_asked_again(house: House) -> None:
    """It gets its route at a later look; its launch waits meanwhile."""
    session = await house.sessions.start(ORDER)
    house.open()
    house.engine.silent = True
    (recovered,) = (await house.sessions.reconcile()).recovered
    assert await house.router.routes() == {}
    waiting = house.tasks.start(house.sessions.wait_ready(recovered), name="wait")
    await asyncio.sleep(0.05)
    house.engine.silent = False
    await waiting
    result = await house.sessions.reconcile()
    assert (result.recovered, result.routes_added) == ((), 1)
    assert await house.router.routes() == {session.id: session.address}


async def test_a_recovered_session_without_an_answer_gets_no_route(house: House) -> None:
    """Visitors are led to nothing that does not answer."""
    await house.sessions.start(ORDER)
    house.open()._probe = SilentProbe()
    for _ in range(2):
        assert (await house.sessions.reconcile()).routes_added == 0
    assert await house.router.routes() == {}


async def test_a_recovered_session_that_dies_ends_its_launchs_wait(house: House) -> None:
    """Its end is told, and its launch learns it."""
    await house.sessions.start(ORDER)
    house.open()
    house.engine.silent = True
    (recovered,) = (await house.sessions.reconcile()).recovered
    house.watch()
    await asyncio.sleep(0.1)
    waiting = house.tasks.start(house.sessions.wait_ready(recovered), name="wait")
    await asyncio.sleep(0.05)
    house.engine.end(recovered.id)
    with pytest.raises(SessionDied):
        await waiting
    await eventually(lambda: house.gone == ["launch-1"])
    with pytest.raises(SessionDied):
        await house.sessions.wait_ready(recovered)


async def test_a_session_that_was_made_and_never_run_is_ended(house: House) -> None:
    """One that the engine made and nobody told to run gets its start timeout; one that runs after all is routed."""
    late, never = await house.sessions.start(ORDER), await house.sessions.start(ORDER)
    for session in (late, never):
        house.engine._sessions[session.id] = replace(session, state=SessionState.STARTING, address="")
    house.open()
    assert len((await house.sessions.reconcile()).recovered) == 2
    house.engine._sessions[late.id] = late
    house.now += SETTINGS.session.start_timeout + 1
    await house.sessions.reconcile()
    assert await house.router.routes() == {late.id: late.address}
    assert house.sessions.running() == {late.id: late}
    assert house.engine.stopped == [never.id]
    assert house.ends() == [(never.id, "abandoned")]


async def test_a_start_without_an_answer_leaves_nothing(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the engine goes away during a start, what it made nevertheless is ended once it is back."""
    start = house.engine.start

    async def start_and_vanish(spec: SessionSpec) -> Session:
        await start(spec)
        house.engine.down = True
        raise EngineUnavailable("It went away.")

    monkeypatch.setattr(house.engine, "start", start_and_vanish)
    with pytest.raises(EngineUnavailable):
        await house.sessions.start(ORDER)
    house.engine.down = False
    result = await house.sessions.reconcile()
    assert (result.found, result.recovered) == ((), ())
    assert await house.engine.list() == []


async def test_what_ended_while_nobody_looked_is_cleaned_up(house: House) -> None:
    """Containers that ended are removed, vanished ones forgotten, their routes removed, each end told."""
    ended, vanished = await house.start("launch-1"), await house.start("launch-2")
    house.engine.end(ended.id)
    del house.engine._sessions[vanished.id]
    house.engine._hang_up(vanished.id)
    result = await house.sessions.reconcile()
    assert (result.sessions, result.ended, result.routes_removed) == (0, 2, 2)
    assert sorted(house.ends()) == sorted([(ended.id, "died"), (vanished.id, "died")])
    assert sorted(house.gone) == ["launch-1", "launch-2"]
    assert (await house.engine.list(), await house.router.routes(), house.sessions.running()) == ([], {}, {})


async def test_lost_and_left_over_routes_are_mended(house: House) -> None:
    """A router that forgot a session is told again; a route that leads nowhere is removed."""
    session = await house.start()
    await house.router.remove(session.id)
    await house.router.add(Route("nobody", "127.0.0.1:1"))
    result = await house.sessions.reconcile()
    assert (result.routes_added, result.routes_removed) == (1, 1)
    assert await house.router.routes() == {session.id: session.address}


async def test_without_the_router_reconciling_looks_after_sessions_alone(house: House) -> None:
    """Routes stay as they are."""
    session = await house.start()
    await house.router.shutdown()
    house.engine.end(session.id)
    with capture_logs() as logs:
        result = await house.sessions.reconcile()
    assert (result.ended, house.ends()) == (1, [(session.id, "died")])
    assert "routes stay as they are: the router does not answer" in [line["event"] for line in logs]


async def test_a_router_that_goes_away_while_mending_is_asked_again_later(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next look adds the route."""
    session = await house.start()
    await house.router.remove(session.id)

    async def away(_route: Route) -> None:
        raise RouterUnavailable("It was restarted.")

    with monkeypatch.context() as patch:
        patch.setattr(house.router, "add", away)
        assert (await house.sessions.reconcile()).routes_added == 0
    assert (await house.sessions.reconcile()).routes_added == 1
    assert await house.router.routes() == {session.id: session.address}


async def test_without_the_engine_reconciling_changes_nothing(house: House) -> None:
    """Nothing is dropped because it could not be seen."""
    session = await house.start()
    house.engine.down = True
    with pytest.raises(EngineUnavailable):
        await house.sessions.reconcile()
    assert session.id in house.sessions.running()
    assert session.id in await house.router.routes()


async def test_what_changes_while_reconciling_reads_is_left_alone(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A session that starts, and one that ends, between the two lists are neither doubled nor lost."""
    house.watch()
    ends = await house.start("launch-1")
    listing, read_on = asyncio.Event(), asyncio.Event()
    read = house.engine.list

    async def slow_list() -> object:
        listed = await read()
        listing.set()
        await read_on.wait()
        return listed

    await asyncio.sleep(0.1)
    monkeypatch.setattr(house.engine, "list", slow_list)
    reconciling = house.tasks.start(house.sessions.reconcile(), name="reconcile")
    await listing.wait()
    await house.sessions.stop(ends.id, "stopped")
    begins = await house.start("launch-2")
    read_on.set()
    result = await reconciling
    assert not result.changed
    assert house.sessions.running().keys() == {begins.id} == (await house.router.routes()).keys()
    assert house.ends() == [(ends.id, "stopped")]


async def test_an_end_is_told_once_though_two_notice_it(house: House) -> None:
    """The watch and a look at the same moment do not tell it twice."""
    session = await house.start()
    ended = house.engine.end(session.id)
    await asyncio.gather(
        house.sessions._end_by_itself(ended),
        house.sessions.reconcile(),
        house.sessions._end_by_itself(ended),
    )
    assert house.ends() == [(session.id, "died")]
    assert house.gone == ["launch-1"]


async def test_an_end_that_is_noticed_while_another_is_mended_is_told_once(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What reconciling had on its list may be done by the time it comes to it."""
    first, second = await house.start("launch-1"), await house.start("launch-2")
    ended = [house.engine.end(first.id), house.engine.end(second.id)]
    stop, stopping, go_on = house.engine.stop, asyncio.Event(), asyncio.Event()

    async def slow_stop(session_id: str) -> None:
        if session_id == first.id:
            stopping.set()
            await go_on.wait()
        await stop(session_id)

    monkeypatch.setattr(house.engine, "stop", slow_stop)
    reconciling = house.tasks.start(house.sessions.reconcile(), name="reconcile")
    await stopping.wait()
    await house.sessions._end_by_itself(ended[1])
    go_on.set()
    await reconciling
    assert house.ends() == [(second.id, "died"), (first.id, "died")]


async def test_a_route_for_a_session_that_just_ended_is_not_added(house: House) -> None:
    """Mending does not bring back what somebody ended meanwhile."""
    assert not await house.sessions._add_route(Route("nobody", "127.0.0.1:1"))
    assert await house.router.routes() == {}


async def test_a_broken_listener_does_not_keep_the_end_from_others(house: House) -> None:
    """It is logged, and the next one is told."""
    sessions = house.open()
    told: list[str] = []

    def broken(_session: Session) -> None:
        raise ValueError("broken")

    sessions.on_gone(broken)
    sessions.on_gone(lambda session: told.append(session.id))
    session = await house.start()
    with capture_logs() as logs:
        await sessions.stop(session.id, "stopped")
    assert told == [session.id]
    assert "listener failed" in [line["event"] for line in logs]
