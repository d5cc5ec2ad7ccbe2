"""The hibernator: what it sees, what it does about it, and what it survives; at the end on a real container."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from binderlet.clients import cgroups
from binderlet.clients.cgroups import Cgroups, CgroupsUnusable, Usage
from binderlet.clients.memory import Machine
from binderlet.config.schema import HibernateSettings
from binderlet.sessions.hibernator import Hibernator, Sight
from support.eventually import eventually
from support.filled import filled_container
from support.values import SESSION

MIB = 1024**2
GIB = 1024**3
WELL = Machine(24 * GIB, 20 * GIB, 12 * GIB, 12 * GIB)


class Groups(Cgroups):
    """Control groups in memory."""

    def __init__(self) -> None:
        super().__init__(Path("/nowhere"))
        self.usage: dict[str, Usage] = {}
        self.error: Exception | None = None
        self.emptied: list[str] = []

    def read(self, containers: Iterable[str]) -> dict[str, Usage]:
        """Give what was set."""
        return {key: self.usage[key] for key in containers if key in self.usage}

    def reclaim(self, container: str) -> None:
        """Push everything to swap."""
        if self.error is not None:
            raise self.error
        self.emptied.append(container)
        if container in self.usage:
            was = self.usage[container]
            self.usage[container] = Usage(was.cpu, MIB, was.resident)


class Stage:
    """A hibernator with all that it looks at."""

    def __init__(self, settings: HibernateSettings) -> None:
        self.now = 1000.0
        self.sessions = {SESSION.id: SESSION}
        self.active = {SESSION.id: 900.0}
        self.groups = Groups()
        self.groups.usage[SESSION.engine_id] = Usage(1.0, 100 * MIB, 0)
        self.machine: Machine | Exception = WELL
        self.seen: list[Sight] = []
        self.hibernator = Hibernator(
            lambda: self.sessions,
            lambda: self.active,
            settings,
            cgroups=self.groups,
            machine=self.read,
            on_look=self.seen.append,
            clock=lambda: self.now,
        )

    def read(self) -> Machine:
        """Give the machine."""
        if isinstance(self.machine, Exception):
            raise self.machine
        return self.machine

    async def look(self, times: int = 1) -> list[str]:
        """Look that often, ten seconds apart, and give all that was pushed out."""
        chosen = []
        for _ in range(times):
            self.now += 10
            chosen += await self.hibernator.look()
        return chosen


@pytest.fixture
async def stage() -> AsyncIterator[Stage]:
    """A stage for a hibernator with the ordinary settings."""
    stage = Stage(HibernateSettings(after=60))
    yield stage
    stage.hibernator.close()


async def test_a_quiet_session_is_pushed_out(stage: Stage) -> None:
    """What it uses is seen at every look, and what became of it at once."""
    assert await stage.look(2) == []
    assert stage.hibernator.hibernated == frozenset()
    assert await stage.look(4) == [SESSION.id]
    assert stage.groups.emptied == [SESSION.engine_id]
    assert stage.hibernator.sight == Sight({SESSION.id: Usage(1.0, MIB, 100 * MIB)}, WELL)
    assert stage.hibernator.hibernated == {SESSION.id}
    assert stage.hibernator.off_because == ""
    assert stage.seen[-1].machine == WELL


async def test_use_keeps_it_in_memory(stage: Stage) -> None:
    """Sessions that somebody uses, of which nothing is known, or whose group cannot be read stay."""
    stage.active[SESSION.id] = 5000.0
    stage.sessions["unknown"] = replace(SESSION, id="unknown", engine_id="u", created_at=0)
    stage.groups.usage["u"] = Usage(1.0, 100 * MIB, 0)
    stage.sessions["unread"] = replace(SESSION, id="unread", engine_id="r")
    assert await stage.look(10) == []
    assert stage.hibernator.sight.usage.keys() == {SESSION.id, "unknown"}


async def test_a_standby_is_quiet_since_its_start(stage: Stage) -> None:
    """Nobody can have used it."""
    stage.sessions = {"spare": replace(SESSION, id="spare", standby="key", created_at=900)}
    assert await stage.look(6) == ["spare"]


async def test_computing_is_told(stage: Stage) -> None:
    """For those who judge whether a session is in use."""
    await stage.look()
    stage.groups.usage[SESSION.engine_id] = Usage(6.0, 100 * MIB, 0)
    await stage.look()
    assert stage.hibernator.computing == {SESSION.id}


async def test_switched_off_it_only_looks() -> None:
    """Memory is seen all the same."""
    stage = Stage(HibernateSettings(enabled=False, after=60))
    assert await stage.look(10) == []
    assert stage.hibernator.off_because == "hibernate.enabled is false"
    assert stage.hibernator.sight.machine == WELL
    stage.hibernator.close()


async def test_without_the_right_to_it_says_so_once(stage: Stage) -> None:
    """And tries no more."""
    stage.sessions["other"] = replace(SESSION, id="other", engine_id="o")
    stage.groups.usage["o"], stage.active["other"] = Usage(1.0, 100 * MIB, 0), 900
    stage.groups.error = CgroupsUnusable("this user may not write to control groups")
    with capture_logs() as logs:
        await stage.look(10)
    assert [(line["event"], line["why"]) for line in logs] == [
        ("sessions keep their memory", "this user may not write to control groups")
    ]
    assert stage.hibernator.off_because == "this user may not write to control groups"
    stage.groups.error = None
    assert await stage.look(10) == []


async def test_other_errors_are_of_one_session_alone(stage: Stage) -> None:
    """It is said, and tried again."""
    stage.groups.error = OSError("it broke")
    with capture_logs() as logs:
        assert SESSION.id in await stage.look(6)
    assert (logs[0]["event"], logs[0]["error"]) == ("a session's memory cannot be pushed out", "it broke")
    stage.groups.error = None
    assert await stage.look() == [SESSION.id]
    assert stage.groups.emptied == [SESSION.engine_id]


async def test_a_session_that_ends_meanwhile(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is told of it."""
    monkeypatch.setattr(stage.groups, "reclaim", lambda _: stage.groups.usage.clear())
    assert await stage.look(6) == [SESSION.id]
    assert await stage.look() == []


@pytest.mark.parametrize("error", [OSError("no"), KeyError("MemTotal"), ValueError("much")])
async def test_a_machine_that_does_not_tell(stage: Stage, error: Exception) -> None:
    """Nothing is pushed out."""
    stage.machine = error
    assert await stage.look(10) == []
    assert stage.seen[-1].machine is None


async def test_the_loop_goes_on_whatever_breaks(stage: Stage) -> None:
    """What broke is logged."""
    stage.hibernator._settings = HibernateSettings(every=0.01)
    stage.machine = RuntimeError("surprise")
    with capture_logs() as logs:
        running = asyncio.gather(stage.hibernator.run())
        await eventually(lambda: len(logs) > 1)
        stage.machine = WELL
        await eventually(lambda: len(stage.seen) > 1)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
    assert logs[0]["event"] == "looking at memory broke; will try again"


async def test_nobody_need_listen() -> None:
    """Looks work without a listener."""
    hibernator = Hibernator(dict, dict, HibernateSettings(), machine=lambda: WELL)
    assert await hibernator.look() == []
    hibernator.close()


async def test_on_cgroup_version_2(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Found under systemd's folder by the container's id, asked to give back all it has, and seen as hibernated."""
    engine_id = "e" * 64
    group = tmp_path / "system.slice" / f"docker-{engine_id}.scope"
    group.mkdir(parents=True)
    (tmp_path / "cgroup.controllers").write_text("cpu memory\n")
    files = {"memory.current": 100 * MIB, "memory.swap.current": 0, "memory.reclaim": ""}
    for name, content in files.items():
        (group / name).write_text(f"{content}\n")
    (group / "cpu.stat").write_text("usage_usec 900000\nuser_usec 800000\n")

    def kernel(path: Path, value: str) -> None:
        assert (path, value) == (group / "memory.reclaim", str(100 * MIB))
        (group / "memory.current").write_text(f"{MIB}\n")
        (group / "memory.swap.current").write_text(f"{99 * MIB}\n")

    monkeypatch.setattr(cgroups, "_write", kernel)
    now = [1000.0]
    session = replace(SESSION, engine_id=engine_id)
    hibernator = Hibernator(
        lambda: {session.id: session},
        lambda: {session.id: 0.0},
        HibernateSettings(after=60),
        cgroups=Cgroups(tmp_path),
        machine=lambda: WELL,
        clock=lambda: now[0],
    )
    assert await hibernator.look() == []
    now[0] += 30
    assert await hibernator.look() == [session.id]
    assert hibernator.sight.usage == {session.id: Usage(0.9, MIB, 99 * MIB)}
    assert hibernator.hibernated == {session.id}
    hibernator.close()


@pytest.fixture
def container() -> Iterator[str]:
    """A real container with 48 MiB of page cache."""
    with filled_container() as made:
        yield made


@pytest.mark.docker
async def test_a_real_container_loses_its_memory(container: str) -> None:
    """Found by its id as after a restart, read and emptied; the page cache goes even where there is no swap."""
    session = replace(SESSION, engine_id=container, standby="key", created_at=0)
    now = [1000.0]
    hibernator = Hibernator(
        lambda: {session.id: session},
        dict,
        HibernateSettings(after=1),
        machine=lambda: WELL,
        clock=lambda: now[0],
    )
    assert await hibernator.look() == []
    before = hibernator.sight.usage[session.id].resident
    now[0] += 100
    assert await hibernator.look() == [session.id]
    assert hibernator.sight.usage[session.id].resident < before / 2
    hibernator.close()
