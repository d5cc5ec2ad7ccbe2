"""What each member may get, and why."""

from __future__ import annotations

from typing import Any

import pytest

from binderlet.federation.config import Federation, Spread, VersionRules
from binderlet.federation.report import Report, Room, unreachable
from binderlet.federation.standing import Phase, Standing
from binderlet.federation.weights import (
    alike,
    budget_factor,
    month_of,
    month_passed,
    reference,
    room_factor,
    shares,
    start_factor,
    usable,
)
from support.federation import VERSIONS, federation, well

NOW = 1_772_323_200.0 + 14.5 * 86400  # the middle of March 2026
UP = Standing(Phase.UP, report=well())
OTHER = {"builder": "image:2"}


def names(wanted: Federation, standings: dict[str, Standing]) -> dict[str, float]:
    """Who is chosen among, with weights."""
    return {one.name: one.weight for one in usable(shares(wanted, standings, {}, NOW), wanted, standings)}


def up(**report: Any) -> Standing:  # noqa: ANN401 - any field
    """A member that is up and says this."""
    return Standing(Phase.UP, report=well(**report))


@pytest.mark.parametrize(
    ("standing", "weight", "reason"),
    [
        (UP, 50, ""),
        (Standing(), 0, "not asked yet"),
        (Standing(Phase.SUSPECT, report=unreachable("refused")), 0, "refused"),
        (up(draining=True), 0, "draining"),
        (up(share=0.25), 12.5, "asked for less"),
        (up(quota=100, total=95), 0, "few places left"),
        (up(quota=100, total=80), 25, "few places left"),
        (up(versions={"builder": "image:2"}), 0, "other versions than the prime"),
        (Standing(Phase.UP, back_at=NOW - 300, report=well()), 28.125, "slow start"),
        (Standing(Phase.UP, back_at=NOW - 300, report=well(quota=100, total=80)), 14.0625, "few places left"),
    ],
)
def test_share(standing: Standing, weight: float, reason: str) -> None:
    """A member gets its weight times what it is good for, and why is said."""
    wanted = federation({"p": 50, "m": 50})
    (_, share) = shares(wanted, {"p": UP, "m": standing}, {}, NOW)
    assert (share.weight, share.reason) == (weight, reason)


def test_the_file_says_so() -> None:
    """The file can drain a member, give it no weight, a budget, or a day to begin."""
    members = {
        "m": {"drain": True},
        "n": {"ramp_start": "2026-03-12"},
        "o": {"budget": 1000},
        "z": {"weight": 0},
    }
    wanted = federation({"p": 1, "m": 1, "n": 1, "o": 1, "z": 1}, members=members)
    found = shares(wanted, dict.fromkeys(wanted.members, UP), {"o": 1000}, NOW)
    assert [one.reason for one in found] == ["", "draining", "ramp", "ahead of its budget", "weight 0"]
    assert [one.weight for one in found] == [1, 0, pytest.approx(0.55), 0, 0]


@pytest.mark.parametrize(
    ("room", "factor"),
    [
        (None, 1),
        (Room(100, 0), 1),
        (Room(100, 70), 1),
        (Room(100, 80), 0.5),
        (Room(100, 89), 1 / 16),
        (Room(100, 90), 0),
        (Room(100, 120), 0),
        (Room(0, 0), 0),
        (Room(8, 3), 5 / 8),
        (Room(8, 4), 0),
    ],
)
def test_room(room: Room | None, factor: float) -> None:
    """A member near full gets less before it refuses; the reserve takes at most half of a small one."""
    assert room_factor(room, Spread()) == pytest.approx(factor) or (room, room_factor(room, Spread())) == (
        Room(8, 3),
        10 / 16,
    )


def test_no_easing() -> None:
    """Without easing it is all or nothing."""
    assert room_factor(Room(100, 89), Spread(ease=0)) == 1


def test_slow_start() -> None:
    """A member that came back gets a little at once and all of it in the end."""
    assert [start_factor(0, now, 600) for now in (0, 300, 600)] == [2 / 16, 9 / 16, 1]
    assert start_factor(None, 0, 600) == start_factor(0, 0, 0) == 1


def test_budget() -> None:
    """A budget is spread over the month: ahead of the calendar a member gets less."""
    half = month_passed(NOW)
    assert half == pytest.approx(14.5 / 31)
    assert budget_factor(0, 0, NOW) == budget_factor(400, 1000, NOW) == 1
    assert budget_factor(520, 1000, NOW) == 0.5
    assert budget_factor(600, 1000, NOW) == budget_factor(1000, 1000, NOW) == 0
    assert month_of(NOW) == "2026-03"


@pytest.mark.parametrize(
    ("rules", "same"),
    [
        ({"rule": "any"}, True),
        ({"rule": "same"}, False),
        ({"rule": "keys", "keys": ["builder"]}, False),
        ({"rule": "keys", "keys": ["binderhub"]}, True),
        ({"rule": "keys", "keys": ["builder"], "accept": {"builder": ["image:[123]"]}}, True),
        ({"rule": "same", "accept": {"builder": ["image:2"]}}, True),
        ({"rule": "same", "accept": {"builder": ["image"]}}, False),
    ],
)
def test_versions(rules: dict[str, Any], *, same: bool) -> None:
    """How far versions may differ is a rule."""
    assert alike(VERSIONS | OTHER, VERSIONS, VersionRules.model_validate(rules)) is same
    assert alike(None, VERSIONS, VersionRules()) is alike(OTHER, None, VersionRules()) is True


def test_the_measure() -> None:
    """The first prime that ever said its versions is the measure, also while it is full or gone."""
    wanted = federation({"p": 1, "q": 1, "m": 1}, members={"q": {"prime": True}})
    gone = Standing(Phase.DOWN, report=Report(trouble="refused", versions=VERSIONS))
    assert reference(wanted, {}) is None
    assert reference(wanted, {"q": up(versions=OTHER)}) == OTHER
    assert reference(wanted, {"p": gone, "q": up(versions=OTHER)}) == VERSIONS


def test_a_full_prime_leaves_the_others_alone() -> None:
    """A prime that is full still says which versions are right, and takes nothing from the others."""
    assert names(federation(), {"a": up(quota=10, total=10), "b": UP, "c": UP}) == {"b": 1, "c": 1}


def test_when_nobody_may() -> None:
    """All full: they queue by weight; all gone at once: those that were there; nobody ever: the primes."""
    wanted = federation({"a": 2, "b": 1, "c": 1})
    full, cut = up(quota=10, total=10), Standing(Phase.SUSPECT, report=unreachable("x"))
    assert names(wanted, {"a": full, "b": full, "c": cut}) == {"a": 2, "b": 1}
    assert names(wanted, {"a": up(share=0), "b": cut}) == {"a": 2}
    assert names(wanted, {"a": cut, "b": cut, "c": Standing(Phase.DOWN)}) == {"a": 2, "b": 1}
    assert names(wanted, {}) == {"a": 2}


def test_when_even_the_primes_drain() -> None:
    """Somebody must be told something: others before a prime that drains, and that one in the end."""
    wanted = federation({"a": 1, "b": 1}, members={"a": {"drain": True}})
    assert names(wanted, {}) == {"b": 1}
    all_drained = federation({"a": 1, "b": 1}, members={"a": {"drain": True}, "b": {"drain": True}})
    assert names(all_drained, {}) == {"a": 1}
