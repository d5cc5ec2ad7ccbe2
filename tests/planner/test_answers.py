"""Answers from plans."""

from __future__ import annotations

from dataclasses import replace

import pytest

from binderlet.dashboard.charts import to_csv
from binderlet.planner.answers import (
    buys,
    carries,
    cheapest,
    most_load,
    providers_chart,
    scaling_chart,
    second_machine,
    sensitivity,
)
from binderlet.planner.load import described, lognormal
from binderlet.planner.prices import BUILT_IN, Prices, read_prices
from binderlet.planner.strategies import Assumptions, all_plans

PRICES = read_prices(BUILT_IN.read_text("utf-8"), "EUR")
FEW = Prices("EUR", tuple(one for one in PRICES.machines if one.memory in {16, 192}), PRICES.providers)
ASSUMED = Assumptions()
LOAD = described(3000, lognormal(1200, 5400))
SMALL = next(machine for machine in PRICES.machines if machine.memory == 16)


def test_the_cheapest_that_is_quick_enough() -> None:
    """A plan in which launches wait too long is not chosen, however cheap; there may be none."""
    plans = all_plans(LOAD.scaled(3), FEW, ASSUMED, most=3)
    best = cheapest(plans, 60)
    assert best is not None
    assert best.wait_p95 <= 60
    assert all(plan.wait_p95 > 60 for plan in plans if plan.month < best.month)
    slow = [replace(plan, wait_p95=61.0) for plan in plans]
    assert cheapest(slow, 60) is None


@pytest.mark.parametrize("limit", [0.0, 3.0, 1000.0, 54321.0])
def test_the_most_that_works(limit: float) -> None:
    """The search finds the limit to a per cent."""
    assert most_load(LOAD, lambda load: load.per_day <= limit) == pytest.approx(limit, rel=0.012)


def test_no_end() -> None:
    """What always works is carried up to the most that is looked at."""
    assert most_load(LOAD, lambda _: True) >= 1e7


@pytest.mark.timeout(60)
def test_what_a_budget_buys() -> None:
    """With more money more launches are carried, and each plan is within the budget."""
    small, large = (buys(budget, 60, LOAD, FEW, ASSUMED) for budget in (30, 350))
    assert {one.plan.machine.name for one in small} == {"CCX23"}
    assert all(one.plan.month <= 350 for one in large)
    assert large[0].per_day > small[0].per_day > 0
    rented = Prices("EUR", tuple(one for one in FEW.machines if one.provider == "AWS"), FEW.providers)
    assert buys(rented.machines[0].price + 1, 60, LOAD, rented, ASSUMED) == []  # its disk costs more than what is left
    assert carries(SMALL, 1, 60, FEW, ASSUMED)(LOAD)
    assert not carries(SMALL, 1, 60, FEW, ASSUMED, budget=1)(LOAD)


@pytest.mark.timeout(60)
def test_when_a_second_machine_pays_off() -> None:
    """Just below the answer one machine is enough, above it is not."""
    most = second_machine(SMALL, 60, LOAD, FEW, ASSUMED)
    works = carries(SMALL, 1, 60, FEW, ASSUMED)
    assert works(LOAD.scaled(most / LOAD.per_day))
    assert not works(LOAD.scaled(1.03 * most / LOAD.per_day))


@pytest.mark.timeout(60)
def test_sensitivity() -> None:
    """One thing at a time is other than assumed, and the answer is there for each."""
    changes = {one.what: one.plan for one in sensitivity(LOAD.scaled(3), FEW, ASSUMED, 60, most=2)}
    assert len(changes) == 8
    as_assumed, dearer = changes["as assumed"], changes["machines cost 1.5 times as much"]
    assert as_assumed is not None
    assert dearer is not None
    assert dearer.month > as_assumed.month


def test_pictures() -> None:
    """One compares providers, the other a machine's places with a cluster's over a week."""
    load = LOAD.scaled(4)
    plans = all_plans(load, FEW, ASSUMED, most=1)
    providers = providers_chart(plans, FEW)
    assert providers.labels[0] == "Hetzner CCX23 (16 GB)"
    assert "AWS m8g.12xlarge (192 GB)" in to_csv(providers)
    cluster = next(plan for plan in plans if plan.kind == "cluster")
    scaling = scaling_chart(load, plans[0], cluster, ASSUMED)
    assert len(scaling.positions) == 7 * 288
    sessions, fixed, scaled = (series.values for series in scaling.series)
    assert len(set(fixed)) == 1
    assert all((room or 0) >= (needed or 0) for needed, room in zip(sessions, scaled, strict=True))
