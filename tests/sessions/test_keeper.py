"""The keeper: traffic is read, the idle and the old are ended, and nothing stops the loop."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from binderlet.config.schema import CullSettings, Settings
from binderlet.engine.fake import FakeEngine
from binderlet.errors import EngineUnavailable, RouterUnavailable, SessionNotFound
from binderlet.events.bus import Bus
from binderlet.model import Session, Traffic
from binderlet.router.inprocess import InProcessRouter
from binderlet.sessions.book import Sessions
from binderlet.sessions.keeper import Keeper
from binderlet.sessions.order import SessionOrder
from binderlet.sessions.policy import IDLE, TOO_OLD, Cull, Outlook
from binderlet.tasks import Tasks
from support.eventually import eventually
from support.values import COMMIT, IMAGE, SPEC

ORDER = SessionOrder("launch-1", SPEC, COMMIT, IMAGE.name, "http://binder.test/")
SETTINGS = CullSettings(idle=600, max_age=3600)


class CountingRouter(InProcessRouter):
    """A router whose counters a test sets."""

    def __init__(self) -> None:
        super().__init__()
        self.counters: dict[str, Traffic] = {}
        self.away = False

    async def traffic(self) -> Mapping[str, Traffic]:
        """Give the counters."""
        if self.away:
            raise RouterUnavailable("It does not answer.")
        return dict(self.counters)


class House:
    """Sessions, their keeper, and a clock that a test moves."""

    def __init__(self, folder: Path, tasks: Tasks) -> None:
        self.now = 1000.0
        self.state = folder / "state" / "activity.json"
        self.tasks = tasks
        self.engine = FakeEngine(serve=True)
        self.router = CountingRouter()
        self.sessions = Sessions(self.engine, self.router, Settings(), Bus(), tasks, clock=self.clock)
        self.busy: set[str] = set()
        self.keeper = self.open()

    def clock(self) -> float:
        """Tell the time."""
        return self.now

    def open(self, settings: CullSettings = SETTINGS, *, keep: bool = True) -> Keeper:
        """Make a keeper, as a new process does."""
        state = self.state if keep else None
        self.keeper = Keeper(self.sessions, self.router, settings, state=state, clock=self.clock)
        return self.keeper

    async def start(self) -> Session:
        """Start a session."""
        session = await self.sessions.start(ORDER)
        await self.sessions.route(session)
        return session

    async def look(self, seconds: float = 30.0) -> list[Cull]:
        """Let time pass, then look."""
        self.now += seconds
        return await self.keeper.look()


@pytest.fixture
async def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[House]:
    """Build a house and leave nothing of it."""
    async with Tasks("test") as tasks:
        house = House(tmp_path, tasks)
        await house.router.prepare()

        async def is_busy(session: Session) -> bool:
            return session.id in house.busy

        monkeypatch.setattr(house.sessions, "is_busy", is_busy)
        yield house
    await house.sessions.close()
    await house.router.shutdown()
    await house.engine.close()


async def test_an_unused_session_ends_after_the_idle_time(house: House) -> None:
    """An open tab that only pings does not keep it."""
    session = await house.start()
    assert await house.look() == []
    for minute in range(1, 10):
        house.router.counters[session.id] = Traffic(1, 0, 12 * minute, 4 * minute)
        assert await house.look(60) == []
    assert house.keeper.last_active == {session.id: 1030.0}
    assert house.keeper.traffic == house.router.counters
    assert await house.look(60) == [Cull(session.id, IDLE)]
    assert (await house.engine.list(), house.sessions.running()) == ([], {})


async def test_a_used_session_stays_until_it_is_too_old(house: House) -> None:
    """Use keeps a session, but not for ever."""
    session = await house.start()
    for request in range(119):
        house.router.counters[session.id] = Traffic(1, request, 0, 0)
        assert await house.look() == []
    assert await house.look() == [Cull(session.id, TOO_OLD)]


async def test_a_computing_session_is_not_idle(house: House) -> None:
    """Whoever waits for a long cell sends no bytes; the session counts as used while it computes."""
    session = await house.start()
    await house.look(0)
    house.busy = {session.id}
    assert await house.look(700) == []
    assert house.keeper.last_active == {session.id: 1700.0}
    house.busy = set()
    assert await house.look(599) == []
    assert await house.look(1) == [Cull(session.id, IDLE)]


async def test_while_the_router_is_silent_nobody_is_idle(house: House) -> None:
    """Age still counts; and when the router is back everyone has the whole idle time anew."""
    session = await house.start()
    await house.look()
    house.router.away = True
    with capture_logs() as logs:
        assert await house.look(2000) == []
    assert logs[0]["event"] == "nobody is culled as idle: the router does not answer"
    house.router.away = False
    assert await house.look(0) == []
    assert await house.look(599) == []
    house.router.away = True
    assert await house.look(1000) == [Cull(session.id, TOO_OLD)]


async def test_a_restart_of_the_control_plane_culls_nobody_early_and_forgets_nobody(house: House) -> None:
    """What is known goes on; without the file everyone counts as active now."""
    session = await house.start()
    await house.look(0)
    house.open()
    assert await house.look(599) == []
    house.open(keep=False)
    assert await house.look(10) == []
    house.open()
    assert await house.look(0) == [Cull(session.id, IDLE)]


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"read_at": "x"}', '{"read_at": 1, "traffic": {"a": {}}}'])
async def test_a_file_that_cannot_be_read_is_begun_anew(house: House, content: str) -> None:
    """Everyone counts as active now, and the log says so."""
    await house.start()
    await asyncio.to_thread(house.state.parent.mkdir)
    await asyncio.to_thread(house.state.write_text, content)
    with capture_logs() as logs:
        assert await house.look(1000) == []
    assert logs[0]["event"].startswith("what is known of activity cannot be read")
    assert "last_active" in json.loads(await asyncio.to_thread(house.state.read_text))


async def test_a_file_that_cannot_be_written_is_logged(house: House) -> None:
    """A full disk does not keep idle sessions alive."""
    await asyncio.to_thread(house.state.parent.write_text, "a file where the folder should be")
    session = await house.start()
    with capture_logs() as logs:
        await house.look(0)
        assert await house.look(600) == [Cull(session.id, IDLE)]
    assert {line["event"] for line in logs} >= {"what is known of activity cannot be kept"}


async def test_an_engine_that_is_away_is_told_after_all_were_tried(house: House) -> None:
    """The sessions stay and are ended when it is back."""
    sessions = [await house.start(), await house.start()]
    await house.look(0)
    house.engine.down = True
    with pytest.raises(EngineUnavailable):
        await house.look(600)
    house.engine.down = False
    await house.sessions.reconcile()
    assert sorted(house.engine.stopped) == sorted(session.id for session in sessions)


async def test_a_starting_session_is_not_judged(house: House) -> None:
    """A start has its own deadline."""
    house.engine.silent = True
    house.tasks.start(house.sessions.start(ORDER), name="start")
    await eventually(lambda: bool(house.sessions.running()))
    assert await house.look(0) == []
    assert await house.look(5000) == []


async def test_the_loops_go_on_whatever_fails(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """Expected errors are one line in the log, others have a traceback; neither ends the loop."""
    errors: list[Exception] = [EngineUnavailable("It does not answer."), ValueError("broken")]
    calls = {"look": 0, "reconcile": 0}
    keeper = house.open(CullSettings(every=0.01, reconcile_every=0.02))

    async def look() -> list[Cull]:
        calls["look"] += 1
        if errors:
            raise errors.pop(0)
        return []

    async def reconcile() -> None:
        calls["reconcile"] += 1
        await asyncio.sleep(0)

    monkeypatch.setattr(keeper, "look", look)
    monkeypatch.setattr(house.sessions, "reconcile", reconcile)
    with capture_logs() as logs:
        house.tasks.start(keeper.run(), name="keeper")
        await eventually(lambda: calls["look"] > 4 and calls["reconcile"] > 1)
    assert [(line["event"], line["work"]) for line in logs] == [
        ("failed; will try again", "looking for idle sessions"),
        ("broke; will try again", "looking for idle sessions"),
    ]


def test_before_the_first_look_nothing_is_known(tmp_path: Path) -> None:
    """The status page asks at any time."""

    async def make() -> Keeper:
        return House(tmp_path, Tasks("test")).keeper

    keeper = asyncio.run(make())
    assert (keeper.last_active, keeper.traffic) == ({}, {})


async def test_what_runs_by_itself_keeps_a_session_only_so_long(house: House) -> None:
    """A cell with the tab closed, by its kernel's word or by the CPU it uses, up to ``busy_max`` after the last use."""
    session = await house.start()
    keeper = Keeper(
        house.sessions,
        house.router,
        CullSettings(idle=600, busy_max=1800),
        computing=lambda: {session.id} if house.now < 2500 else set(),
        clock=house.clock,
    )
    house.keeper = keeper
    house.busy = {session.id}
    assert [await house.look(seconds) for seconds in (0, 600, 600, 600, 599)] == [[]] * 5
    assert await house.look(600) == [Cull(session.id, IDLE)]


async def test_the_outlook_of_a_session(house: House) -> None:
    """Known before the first look, moved by use, by what runs in it as long as that may keep it, and by an operator."""
    session = await house.start()
    computing: set[str] = set()
    keeper = house.keeper = Keeper(
        house.sessions,
        house.router,
        CullSettings(idle=600, busy_max=1800),
        computing=lambda: computing,
        clock=house.clock,
    )
    assert keeper.outlook(session) == Outlook(house.now + 600, IDLE, 600)
    assert keeper.looked_at == house.now
    await house.look(0)
    house.now += 400
    assert keeper.looked_at == house.now - 400
    assert keeper.outlook(session).ends_at == 1600
    computing.add(session.id)
    assert keeper.outlook(session).ends_at == house.now + 600
    assert await house.look(300) == []
    house.now += 5000
    assert keeper.outlook(session).ends_at == 1000 + 1800 + 600
    until = await keeper.extend(session.id, 7200)
    assert keeper.outlook(session).ends_at == until


async def test_an_operator_can_extend_a_session(house: House) -> None:
    """It stays until then, also over a restart of the control plane; others are not known."""
    session = await house.start()
    assert await house.keeper.extend(session.id, 7200) == 8200
    house.open()
    assert await house.look(5000) == []
    assert await house.look(2200) == [Cull(session.id, TOO_OLD)]
    with pytest.raises(SessionNotFound):
        await house.keeper.extend(session.id, 60)
    other = await house.start()
    fresh = house.open(keep=False)
    assert await fresh.extend(other.id, 60) == house.now + 60
