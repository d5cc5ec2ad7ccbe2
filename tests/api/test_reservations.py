"""Reservations over HTTP."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest
from starlette.applications import Starlette

from binderlet.api.routes import create_admin_app, create_app
from binderlet.errors import BadSpec, ReservationNotFound
from binderlet.model import RepoSpec
from binderlet.sessions.standby import Reservation
from support.asgi import ask
from support.services import NOW, Stage

SPEC = RepoSpec("gh", "owner/repo/HEAD")
MADE = Reservation("r1", SPEC, "", 60, NOW, NOW + 3600)
BODY = {
    "id": "r1",
    "provider": "gh",
    "spec": "owner/repo/HEAD",
    "count": 60,
    "from": NOW,
    "to": NOW + 3600,
    "ready": 0,
    "launched": 0,
    "problem": "",
}


class FakeDesk:
    """Keeps reservations in a list."""

    def __init__(self) -> None:
        self.kept: list[Reservation] = []

    def all(self) -> Sequence[tuple[Reservation, int]]:
        """Give them, two of each ready."""
        return [(one, 2) for one in self.kept]

    async def reserve(self, spec: RepoSpec, count: int, begins: float, ends: float, *, now: float) -> Reservation:
        """Keep one; none in the past."""
        if ends < now:
            raise BadSpec("The reservation ends before it begins.")
        self.kept.append(replace(MADE, spec=spec, count=count, begins=begins, ends=ends))
        return self.kept[-1]

    async def cancel(self, reservation_id: str) -> None:
        """Drop one."""
        if reservation_id not in {one.id for one in self.kept}:
            raise ReservationNotFound(f"There is no reservation {reservation_id!r}.")
        self.kept.clear()


@pytest.fixture
def desk() -> FakeDesk:
    """Nothing is reserved."""
    return FakeDesk()


@pytest.fixture
def admin(stage: Stage, desk: FakeDesk) -> Starlette:
    """The operator's service."""
    return create_admin_app(replace(stage.services(), desk=desk))


def url(**changes: object) -> str:
    """Give the URL that makes a reservation."""
    query = {"provider": "gh", "spec": "owner%2Frepo%2FHEAD", "count": 60, "from": NOW, "to": NOW + 3600} | changes
    return "/reservations?" + "&".join(f"{key}={value}" for key, value in query.items())


async def test_a_reservation_is_made_listed_and_dropped(admin: Starlette, desk: FakeDesk) -> None:
    """201 with all of it, then in the list, then gone."""
    made = await ask(admin, url(), method="POST")
    assert (made.status, made.json()) == (201, BODY)
    assert desk.kept == [MADE]
    assert (await ask(admin, "/reservations")).json() == [BODY | {"ready": 2}]
    assert (await ask(admin, "/reservations/r1", method="DELETE")).status == 204
    again = await ask(admin, "/reservations/r1", method="DELETE")
    assert (again.status, again.json()["code"]) == (404, "reservation_not_found")


@pytest.mark.parametrize("changes", [{"count": "many"}, {"from": ""}, {"to": "tomorrow"}, {"to": 1}])
async def test_what_makes_no_sense_is_refused(admin: Starlette, desk: FakeDesk, changes: dict[str, object]) -> None:
    """400 with what is wrong."""
    answer = await ask(admin, url(**changes), method="POST")
    assert (answer.status, answer.json()["code"]) == (400, "bad_spec")
    assert desk.kept == []


@pytest.fixture
def public(stage: Stage, desk: FakeDesk) -> Starlette:
    """What everyone sees."""
    return create_app(replace(stage.services(), desk=desk))


@pytest.fixture
def without(stage: Stage) -> Starlette:
    """The operator's service where nothing can be reserved."""
    return create_admin_app(stage.services())


async def test_the_status_shows_reservations(public: Starlette, without: Starlette, desk: FakeDesk) -> None:
    """To everyone, as the page draws them; where nothing can be reserved there are none."""
    desk.kept.append(MADE)
    assert (await ask(public, "/api/status")).json()["reservations"] == [BODY | {"ready": 2}]
    assert (await ask(public, "/reservations")).status == 404
    assert (await ask(without, "/status")).json()["reservations"] == []
    assert (await ask(without, "/reservations")).status == 404
