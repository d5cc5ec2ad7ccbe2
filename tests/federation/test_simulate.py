"""A simulated federation loses, moves and refuses what it should."""

from __future__ import annotations

from dataclasses import replace

import pytest

from binderlet.federation.config import Federation
from binderlet.federation.simulate import Result, Simulation, World, describe, made_up, places_for, step_for
from binderlet.federation.traffic import Load
from support.federation import federation

pytestmark = pytest.mark.timeout(90)

LOAD = Load(20_000, repositories=300, crowds_per_month=0)
CALM = World([1000, 1000, 1000], days=1, failures_per_month=0)


def run(world: World = CALM, load: Load = LOAD, wanted: Federation | None = None) -> Result:
    """Run it."""
    return Simulation(wanted or federation(spread={"bound": 100}), load, world).run()


def test_a_calm_day() -> None:
    """With room and without failures nothing is lost, refused or moved, and every image is built once."""
    found = run()
    assert found.launches == pytest.approx(22_000, rel=0.2)
    assert (found.lost, found.refused, found.moved, found.waited, found.failures) == (0, 0, 0, 0, 0)
    assert found.built <= 300
    assert sum(found.shares) == pytest.approx(1, abs=0.001)
    assert run().as_dict() | {"seconds": 0} == found.as_dict() | {"seconds": 0}


def test_failures() -> None:
    """Failures lose a few launches, cut sessions, and move the rest."""
    found = run(replace(CALM, failures_per_month=30, days=4))
    assert found.failures > 3
    assert found.cut > 0
    assert 0 < found.lost < found.launches * 0.01
    assert found.moved > 0


def test_a_federation_of_one_that_fails() -> None:
    """Where nobody is left, launches of that step are lost or wait; nothing is counted twice."""
    found = run(replace(CALM, places=[400], failures_per_month=300), wanted=federation({"a": 1}))
    assert found.failures > 3
    assert found.moved == 0
    assert found.lost < found.launches


def test_a_loved_repository() -> None:
    """One repository that many want does not fill one member: what is beyond its fair share goes to others."""
    unbound, bound = run(), run(wanted=federation())
    assert unbound.share_error > 15
    assert bound.share_error < unbound.share_error - 5
    assert bound.moved > 0


def test_too_small() -> None:
    """Full members let wait what their queue holds, and refuse the rest."""
    found = run(replace(CALM, places=[60, 60, 60], queue=20))
    assert found.refused > 0
    assert found.waited > 0
    assert found.wait_p99 > found.wait_mean > 0
    assert found.fullest == pytest.approx(1, abs=0.05)
    assert found.moved > 0


def test_crowds_and_other_ways() -> None:
    """Crowds come, chance may decide, and images may not count."""
    crowds = replace(LOAD, crowds_per_month=60)
    assert run(load=crowds).crowds > 0
    by_chance = run(load=crowds, wanted=federation(load_balancer="random"))
    assert by_chance.built > run(load=crowds).built
    assert run(wanted=federation(spread={"images": False, "bound": 100})).moved == 0


def test_what_is_made_up() -> None:
    """Members of many sizes have places by their weights, and progress is told."""
    wanted = made_up(5, seed=3)
    places = places_for(wanted, LOAD, 1500, 1.3)
    assert len(places) == 5
    assert sum(places) == pytest.approx(1.3 * 20_000 / 86400 * 1.9 * 1500, rel=0.05)
    told: list[float] = []
    Simulation(wanted, LOAD, World(places, days=2)).run(told.append)
    assert told == [0, 0.5]


@pytest.mark.parametrize(("launches", "step"), [(1000, 60), (10_000_000, pytest.approx(25.92)), (1e9, 5)])
def test_steps(launches: float, step: float) -> None:
    """A step is short enough that one repository does not fill a member before anyone looks."""
    assert step_for(Load(launches), [1000, 1000]) == step


def test_lines() -> None:
    """The result is said in lines, also where nothing happened."""
    lines = describe(Result(members=3, days=1))
    assert lines[0].startswith("3 members, 1 days, 0 launches")
    assert any(line.startswith("lost:    0 (0%)") for line in lines)
