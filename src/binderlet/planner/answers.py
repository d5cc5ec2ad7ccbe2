"""Answers from plans: the cheapest that is quick enough, what a budget buys, when a second machine pays off. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from binderlet.dashboard.charts import Chart, Kind, Series
from binderlet.planner.load import SLOT, Load, concurrency
from binderlet.planner.prices import Machine, Prices
from binderlet.planner.strategies import Assumptions, Plan, all_plans, fixed_plan, per_node

MOST_LAUNCHES = 1e7
"""Launches a day up to which is looked."""
CLOSE = 0.01


def cheapest(plans: Sequence[Plan], wait: float) -> Plan | None:
    """Give the cheapest plan in which 19 of 20 launches wait no longer than this."""
    return next((plan for plan in sorted(plans, key=lambda plan: plan.month) if plan.wait_p95 <= wait), None)


def most_load(load: Load, works: Callable[[Load], bool]) -> float:
    """Give the launches on an average day up to which something works; 0 where it never does."""
    low, high = 0.0, 1.0 / max(load.per_day, 1e-9)
    if not works(load.scaled(high)):
        return 0.0
    while works(load.scaled(high)) and high * load.per_day < MOST_LAUNCHES:
        low, high = high, high * 2
    while high - low > CLOSE * high:
        middle = (low + high) / 2
        low, high = (middle, high) if works(load.scaled(middle)) else (low, middle)
    return low * load.per_day


@dataclass(frozen=True, slots=True)
class Bought:
    """What a budget buys with one machine or several of a kind."""

    plan: Plan
    """The plan at the load that is given; the largest that the budget buys."""
    per_day: float
    """Launches on an average day that it carries."""


def buys(budget: float, wait: float, load: Load, prices: Prices, assumed: Assumptions) -> list[Bought]:
    """Give what a budget a month buys, the most launches first."""
    sessions = concurrency(load)
    found = []
    for machine in prices.machines:
        count = int(budget // machine.price)
        while count > 0:
            plan = fixed_plan(machine, count, load, prices, assumed, sessions=sessions)
            if plan.costs.total - plan.costs.traffic <= budget:
                carried = most_load(load, carries(machine, count, wait, prices, assumed, budget=budget))
                found.append(Bought(plan, carried))
                break
            count -= 1
    return sorted(found, key=lambda bought: -bought.per_day)


def carries(
    machine: Machine, count: int, wait: float, prices: Prices, assumed: Assumptions, *, budget: float = float("inf")
) -> Callable[[Load], bool]:
    """Give a test whether so many machines carry a load within a wait and a budget."""

    def works(load: Load) -> bool:
        plan = fixed_plan(machine, count, load, prices, assumed, sessions=concurrency(load))
        return plan.wait_p95 <= wait and plan.month <= budget

    return works


def second_machine(machine: Machine, wait: float, load: Load, prices: Prices, assumed: Assumptions) -> float:
    """Give the launches on an average day from which on one machine is too small, so that a second one pays off."""
    return most_load(load, carries(machine, 1, wait, prices, assumed))


@dataclass(frozen=True, slots=True)
class Change:
    """What the answer becomes when one assumption is wrong."""

    what: str
    plan: Plan | None


def sensitivity(load: Load, prices: Prices, assumed: Assumptions, wait: float, *, most: int = 4) -> list[Change]:
    """Give the cheapest plan when one thing at a time is other than assumed."""

    def answer(what: str, load: Load, prices: Prices, assumed: Assumptions) -> Change:
        return Change(what, cheapest(all_plans(load, prices, assumed, most=most), wait))

    longer = replace(load, lengths=load.lengths.scaled(1.5))
    shorter = replace(load, lengths=load.lengths.scaled(2 / 3))
    bigger = replace(assumed, session_memory=assumed.session_memory * 3 // 2, guarantee=assumed.guarantee * 1.5)
    kinder = {
        name: replace(one, kubernetes=0.0) for name, one in prices.providers.items() if one.kubernetes is not None
    }
    free = replace(prices, providers={**prices.providers, **kinder})
    fixed = replace(prices, machines=tuple(replace(one, price=one.price * 1.5) for one in prices.machines))
    return [
        answer("as assumed", load, prices, assumed),
        answer("twice the launches", load.scaled(2), prices, assumed),
        answer("half the launches", load.scaled(0.5), prices, assumed),
        answer("sessions stay 1.5 times as long", longer, prices, assumed),
        answer("sessions stay two thirds as long", shorter, prices, assumed),
        answer("sessions take 1.5 times the memory", load, prices, bigger),
        answer("machines cost 1.5 times as much", load, fixed, assumed),
        answer("Kubernetes has no fee", load, free, assumed),
    ]


def providers_chart(plans: Sequence[Plan], prices: Prices) -> Chart:
    """Compare what one machine of each kind costs a month."""
    single = sorted((plan for plan in plans if plan.kind == "one machine"), key=lambda plan: plan.month)
    return Chart(
        "providers",
        "One machine, by provider",
        "Machines of about 190 GB and smaller ones, with disk and traffic for this load; sources in the price table.",
        Kind.BARS,
        f"{prices.currency} a month",
        tuple(map(float, range(len(single)))),
        (
            Series("machine", tuple(round(plan.costs.machines, 2) for plan in single)),
            Series("disk and traffic", tuple(round(plan.month - plan.costs.machines, 2) for plan in single)),
        ),
        labels=tuple(f"{plan.machine.label} ({plan.machine.memory:.0f} GB)" for plan in single),
        axis="Machine",
        is_time=False,
    )


def scaling_chart(load: Load, fixed: Plan, cluster: Plan, assumed: Assumptions) -> Chart:
    """Show sessions over time under a fixed machine's places and a cluster's, which follow them."""
    sessions = concurrency(load)
    shown = range(min(len(sessions), 7 * 288))
    return Chart(
        "scaling",
        "A fixed machine and an autoscaling cluster",
        f"Mean sessions at once over a week, the places of {fixed.name} ({fixed.month:.0f} a month), and those of "
        f"{cluster.name} ({cluster.month:.0f} a month).",
        Kind.LINES,
        "sessions",
        tuple(at * SLOT / 3600 for at in shown),
        (
            Series("sessions", tuple(sessions[at] for at in shown)),
            Series(f"places: {fixed.name}", tuple(float(fixed.places) for _ in shown)),
            Series(f"places: {cluster.name}", tuple(float(cluster.nodes[at] * per_node(assumed)) for at in shown)),
        ),
        axis="Hour of the week",
        is_time=False,
    )
