"""Reservations: what is refused, and how their images are got ready."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from binderlet.errors import BadSpec, LaunchFailed, Refused, ReservationNotFound, UnknownProvider
from binderlet.launch.ahead import Desk, prepare
from binderlet.model import RepoSpec
from binderlet.sessions.standby import Reservation
from support.launches import Workshop
from support.values import SESSION

HOST = "http://binder.test/"
SPEC = RepoSpec("fake", "owner/repo/HEAD")


class Keeper:
    """Keeps reservations in a list; is the pool as well."""

    def __init__(self) -> None:
        self.kept: list[Reservation] = []

    @property
    def reservations(self) -> Keeper:
        """Itself."""
        return self

    def reserved(self) -> Sequence[tuple[Reservation, int]]:
        """None is ready."""
        return [(one, 0) for one in self.kept]

    async def add(self, spec: RepoSpec, host: str, count: int, begins: float, ends: float) -> Reservation:
        """Keep one."""
        self.kept.append(Reservation("r1", spec, host, count, begins, ends))
        return self.kept[-1]

    async def cancel(self, reservation_id: str) -> None:
        """Know none."""
        raise ReservationNotFound(reservation_id)


@pytest.fixture
def desk(workshop: Workshop) -> Desk:
    """A desk for forty places."""
    return Desk(Keeper(), workshop.providers, HOST, places=40)


async def test_a_reservation_is_kept(desk: Desk) -> None:
    """With the host that visitors will come to."""
    made = await desk.reserve(SPEC, 40, 100, 200, now=50)
    assert made == Reservation("r1", SPEC, HOST, 40, 100, 200)
    assert desk.all() == [(made, 0)]
    with pytest.raises(ReservationNotFound):
        await desk.cancel("other")


@pytest.mark.parametrize(
    ("spec", "count", "ends", "error"),
    [
        (RepoSpec("nope", "x"), 1, 200, UnknownProvider),
        (RepoSpec("fake", "owner"), 1, 200, BadSpec),
        (SPEC, 0, 200, BadSpec),
        (SPEC, 1, 100, BadSpec),
        (SPEC, 1, 150, BadSpec),
        (SPEC, 41, 200, Refused),
    ],
)
async def test_what_makes_no_sense_is_refused(
    desk: Desk, spec: RepoSpec, count: int, ends: float, error: type[Exception]
) -> None:
    """It is said before anything is kept."""
    with pytest.raises(error):
        await desk.reserve(spec, count, 100, ends, now=150)
    assert desk.all() == []


async def test_an_image_is_got_ready_like_that_of_a_launch(workshop: Workshop) -> None:
    """Built once, then found; no session starts."""
    order = await prepare(workshop.book, SPEC, HOST)
    assert (order.spec, order.host, order.launch_id) == (SPEC, HOST, "")
    assert order.image_id.startswith("sha256:")
    assert await prepare(workshop.book, SPEC, HOST) == order
    assert workshop.engine.started == []


async def test_why_it_cannot_be_got_ready(workshop: Workshop) -> None:
    """The launch's own words."""
    with pytest.raises(LaunchFailed, match="nowhere"):
        await prepare(workshop.book, RepoSpec("fake", "owner/repo/nowhere"), HOST)


async def test_a_service_that_stops_gets_nothing_ready(workshop: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
    """A launch that was cut off says nothing of its image."""
    launch = workshop.book.recover(SESSION, HOST)
    assert launch.numbers_from == int(workshop.clock.now) > 0
    launch.story.close()
    monkeypatch.setattr(workshop.book, "open", lambda _: launch)
    monkeypatch.setattr(type(launch), "image", None)
    with pytest.raises(LaunchFailed, match="stopped"):
        await prepare(workshop.book, SPEC, HOST)
