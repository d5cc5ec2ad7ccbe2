"""Reservations are kept, prepared at once and again, and come back after a restart."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from binderlet.config.schema import StandbySettings
from binderlet.errors import LaunchFailed, ReservationNotFound
from binderlet.model import RepoSpec
from binderlet.sessions.demand import Demands
from binderlet.sessions.order import SessionOrder
from binderlet.sessions.reservations import PREPARE_EVERY, SAVE_EVERY, Reservations
from binderlet.tasks import Tasks
from support.eventually import eventually
from support.values import COMMIT, IMAGE, SPEC

SETTINGS = StandbySettings(lead=100, every=0)
HOST = "http://binder.test/"
KEY = "key"


class Office:
    """Reservations with a clock and a scripted preparation."""

    def __init__(self, tasks: Tasks, folder: Path) -> None:
        self.tasks = tasks
        self.folder = folder
        self.now = 1000.0
        self.prepared: list[tuple[RepoSpec, str]] = []
        self.problem = ""
        self.demands = Demands(SETTINGS, lambda _: KEY)
        self.reservations = self.open()

    def open(self) -> Reservations:
        """Make one on the same file, as a new process does."""
        self.demands = Demands(SETTINGS, lambda _: KEY)
        file = self.folder / "standby" / "demand.json"
        self.reservations = Reservations(
            self.demands, SETTINGS, self.tasks, prepare=self.prepare, file=file, clock=lambda: self.now
        )
        return self.reservations

    async def prepare(self, spec: RepoSpec, host: str) -> SessionOrder:
        """Find the image, or not."""
        self.prepared.append((spec, host))
        if self.problem:
            raise LaunchFailed(self.problem)
        return SessionOrder("", spec, COMMIT, IMAGE.name, host, image_id=IMAGE.id)


@pytest.fixture
async def office(tmp_path: Path) -> AsyncIterator[Office]:
    """Open one."""
    async with Tasks("test") as tasks:
        yield Office(tasks, tmp_path)


async def test_a_reservation_is_prepared_at_once_and_while_it_is_open(office: Office) -> None:
    """The image is built early; whether the commit changed is looked up again."""
    made = await office.reservations.add(SPEC, HOST, 3, 2000, 3000)
    await eventually(lambda: office.reservations.with_ready({KEY: 2}) == [(made, 2)])
    assert office.prepared == [(SPEC, HOST)]
    for now, times in ((1000 + PREPARE_EVERY, 1), (1900, 2), (2000, 2), (1900 + PREPARE_EVERY, 3)):
        office.now = now
        await office.reservations.look(now)
        await eventually(lambda: not len(office.tasks))
        assert len(office.prepared) == times


async def test_what_cannot_be_prepared_says_why(office: Office) -> None:
    """Until it can be."""
    office.problem = "There is no such repository."
    made = await office.reservations.add(SPEC, HOST, 3, 1000, 9000)
    await eventually(lambda: office.reservations.all[0].problem == office.problem)
    office.problem = ""
    office.now += PREPARE_EVERY
    await office.reservations.look(office.now)
    await eventually(lambda: office.reservations.all[0] == made)


async def test_a_restart_forgets_nothing(office: Office) -> None:
    """Reservations are on disk at once, launches a few seconds later."""
    await office.reservations.load()
    made = await office.reservations.add(SPEC, HOST, 3, 2000, 3000)
    office.demands.note(SessionOrder("l", SPEC, COMMIT, IMAGE.name, HOST), office.now)
    await office.reservations.look(office.now)
    again = office.open()
    await again.load()
    assert again.all == [made]
    assert office.demands.current(office.now)[0] == []
    await again.look(office.now)
    office.demands.note(SessionOrder("l", SPEC, COMMIT, IMAGE.name, HOST), office.now)
    office.now += SAVE_EVERY
    await again.look(office.now)
    await office.open().load()
    assert office.demands.current(office.now)[0] != []


async def test_a_cancelled_reservation_is_gone_for_good(office: Office) -> None:
    """Also after a restart; one that is unknown is an error."""
    made = await office.reservations.add(SPEC, HOST, 3, 2000, 3000)
    await office.reservations.cancel(made.id)
    await office.open().load()
    assert office.reservations.all == []
    with pytest.raises(ReservationNotFound):
        await office.reservations.cancel(made.id)


async def test_a_broken_file_or_disk_stops_nothing(office: Office) -> None:
    """It is told, and the service goes on without."""
    (office.folder / "standby").mkdir()
    (office.folder / "standby" / "demand.json").write_text("{")
    with capture_logs() as logs:
        await office.reservations.load()
    assert "make no sense" in logs[0]["event"]
    kept = office.folder / "standby" / "demand.unreadable"
    assert kept.read_text() == "{"
    kept.unlink()
    (office.folder / "standby" / "demand.json").mkdir()
    with capture_logs() as logs:
        await office.reservations.load()
    assert "cannot be read" in logs[0]["event"]
    (office.folder / "standby" / "demand.json").rmdir()
    (office.folder / "standby").rmdir()
    (office.folder / "standby").write_text("a file")
    with capture_logs() as logs:
        await office.reservations.add(SPEC, HOST, 3, 2000, 3000)
    assert "cannot be kept" in logs[0]["event"]
