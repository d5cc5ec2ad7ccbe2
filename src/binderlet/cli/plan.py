"""``binderlet plan``: what a load needs, and what it costs in every way."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from binderlet.cli.options import AsJson, ConfigFile, SetKeys, read_settings
from binderlet.cli.stats import Begins, Ends, StoreFile

if TYPE_CHECKING:
    from binderlet.planner.load import Lengths, Load
    from binderlet.planner.prices import Prices
    from binderlet.planner.strategies import Assumptions, Plan

PerDay = Annotated[
    float, typer.Option("--per-day", min=0, help="Launches on a workday. Default: as in the statistics.")
]
Median = Annotated[str, typer.Option("--session", help="Median length of a session.")]
Longest = Annotated[str, typer.Option("--session-p90", help="Length that nine of ten sessions do not exceed.")]
Wait = Annotated[str, typer.Option("--wait", help="How long 19 of 20 launches may wait for a place at most.")]
MINUTE = 60.0


@dataclass(frozen=True)
class Question:
    """What is asked."""

    load: Load
    prices: Prices
    assumed: Assumptions
    wait: float
    budget: float
    most: int


def plan(
    *,
    per_day: PerDay = 0,
    session: Median = "20m",
    session_p90: Longest = "90m",
    weekend: Annotated[
        float, typer.Option("--weekend", min=0, help="A weekend day's launches beside a workday's.")
    ] = 0.55,
    built: Annotated[float, typer.Option("--built", min=0, max=1, help="Share of launches that need a build.")] = 0.05,
    wait: Wait = "1m",
    budget: Annotated[float, typer.Option("--budget", min=0, help="Money a month; what does it buy?")] = 350,
    currency: Annotated[str, typer.Option("--currency", help="Of all figures: a currency of the price table.")] = "EUR",
    prices: Annotated[Path | None, typer.Option("--prices", help="A price table of your own; see the docs.")] = None,
    machines: Annotated[int, typer.Option("--machines", min=1, help="Machines of a federation at most.")] = 4,
    assume: Annotated[
        list[str] | None, typer.Option("--assume", metavar="NAME=NUMBER", help="Another assumption, such as lag=120.")
    ] = None,
    begins: Begins = "",
    ends: Ends = "",
    member: Annotated[str, typer.Option("--member", help="Only this member's launches of the statistics.")] = "",
    check: Annotated[bool, typer.Option("--check", help="Play the plans event by event, beside the formulas.")] = False,
    draw: Annotated[Path | None, typer.Option("--draw", metavar="FOLDER", help="Write the pictures there.")] = None,
    kinds: Annotated[list[str] | None, typer.Option("--format", help="Of the pictures: svg, png, csv or json.")] = None,
    store: StoreFile = None,
    as_json: AsJson = False,
    config: ConfigFile = None,
    keys: SetKeys = None,
) -> None:
    """Plan a load: sessions at once, what carries them, what it costs a month, what a budget buys.

    The load is described by options, or taken from the statistics where --per-day is not given.
    """
    import json

    from binderlet.cli.stats import write_charts
    from binderlet.planner.prices import BUILT_IN, read_prices

    table = prices or BUILT_IN
    lengths = read_lengths(session, session_p90)
    load = (
        read_load(per_day, lengths, weekend, built)
        if per_day
        else recorded_load(config, keys, store, (begins, ends, member), lengths)
    )
    asked = Question(
        load,
        read_prices(read_text(table), currency, table.name),
        assumptions(assume or []),
        duration(wait),
        budget,
        machines,
    )
    answer = work_out(asked, check=check)
    if draw is not None:
        write_charts(answer["charts"], draw, kinds or ["svg", "csv"])
    del answer["charts"]
    typer.echo(json.dumps(answer, indent=2) if as_json else "\n".join(say(answer)))


def duration(text: str) -> float:
    """Read a duration such as 20m."""
    from binderlet.config.units import parse_duration

    return float(str(parse_duration(text)))


def read_text(path: Path) -> str:
    """Read a price table."""
    from binderlet.errors import BadPrices

    try:
        return path.read_text("utf-8")
    except (OSError, ValueError) as error:
        raise BadPrices(f"{path} cannot be read: {error}.") from error


def assumptions(given: list[str]) -> Assumptions:
    """Read ``NAME=NUMBER`` into the assumptions."""
    from dataclasses import fields, replace

    from binderlet.planner.strategies import Assumptions

    known = {field.name: field.type for field in fields(Assumptions)}
    changed: dict[str, Any] = {}
    for text in given:
        name, _, number = text.partition("=")
        try:
            changed[name] = int(float(number)) if known[name] == "int" else float(number)
        except (KeyError, ValueError) as error:
            raise typer.BadParameter(
                f"{text!r} is not NAME=NUMBER with one of {', '.join(sorted(known))}", param_hint="--assume"
            ) from error
    return replace(Assumptions(), **changed)


def read_lengths(median: str, p90: str) -> Lengths:
    """Give the lengths of sessions that are described."""
    from binderlet.planner.load import lognormal

    half, most = duration(median), duration(p90)
    if not 0 < half <= most:
        raise typer.BadParameter("--session must be more than nothing, and no longer than --session-p90")
    return lognormal(half, most)


def read_load(per_day: float, lengths: Lengths, weekend: float, built: float) -> Load:
    """Give a load that is described."""
    from binderlet.planner.load import described

    return described(per_day, lengths, weekend=weekend, built=built)


def recorded_load(
    config: Path | None, keys: list[str] | None, store: Path | None, asked: tuple[str, str, str], lengths: Lengths
) -> Load:
    """Give the load of the statistics; sessions stay as long as this service's own did, where that is known."""
    from binderlet.cli.stats import days_of, open_store
    from binderlet.dashboard.own import durations
    from binderlet.errors import BadRange
    from binderlet.planner.load import measured, recorded

    begins, ends, member = asked
    statistics = open_store(read_settings(config, keys).settings, store)
    shown = days_of(statistics, begins, ends)
    minutes = statistics.minutes(shown.first, shown.last, [member] if member else None)
    if not minutes:
        hint = "Give --per-day to describe a load, or take in an archive with 'binderlet stats import'."
        raise BadRange(f"Nothing is known of launches from {shown}.", hint=hint)
    own = durations(body["lengths"] for body in statistics.own(shown.first, shown.last).values())
    return recorded(minutes, measured(own) if own else lengths)


def work_out(asked: Question, *, check: bool) -> dict[str, Any]:
    """Answer everything, as JSON has it; ``charts`` has the pictures."""
    from binderlet.planner import answers
    from binderlet.planner.load import concurrency
    from binderlet.planner.strategies import all_plans

    load, prices, assumed, wait = asked.load, asked.prices, asked.assumed, asked.wait
    sessions = concurrency(load)
    plans = all_plans(load, prices, assumed, most=asked.most)
    best = answers.cheapest(plans, wait)
    first = best.machine if best else prices.machines[0]
    fixed = next((one for one in plans if one.kind != "cluster" and one.wait_p95 <= wait), plans[0])
    cluster = next((one for one in plans if one.kind == "cluster"), None)
    changes = answers.sensitivity(load, prices, assumed, wait, most=asked.most)
    return {
        "load": {
            "launches_per_day": round(load.per_day, 1),
            "mean_session_minutes": round(load.lengths.mean / MINUTE, 1),
            "sessions_mean": round(sum(sessions) / len(sessions), 1),
            "sessions_peak": round(max(sessions), 1),
        },
        "currency": prices.currency,
        "wait_seconds": wait,
        "cheapest": plan_body(best) if best else None,
        "plans": [plan_body(one) for one in plans],
        "budget": {
            "month": asked.budget,
            "buys": [
                {"plan": one.plan.name, "month": round(one.plan.month, 2), "launches_per_day": round(one.per_day)}
                for one in answers.buys(asked.budget, wait, load, prices, assumed)
            ],
        },
        "second_machine": {
            "machine": first.label,
            "above_launches_per_day": round(answers.second_machine(first, wait, load, prices, assumed)),
        },
        "sensitivity": [{"if": one.what, "cheapest": plan_body(one.plan) if one.plan else None} for one in changes],
        "check": checks(load, assumed, [one for one in (best, fixed, cluster) if one]) if check else [],
        "charts": [
            answers.providers_chart(plans, prices),
            *([answers.scaling_chart(load, fixed, cluster, assumed)] if cluster else []),
        ],
    }


def plan_body(one: Plan) -> dict[str, Any]:
    """Give a plan as JSON."""
    return {
        "plan": one.name,
        "month": round(one.month, 2),
        "places": one.places,
        "wait_p95_seconds": round(one.wait_p95, 1),
        "machines": round(one.costs.machines, 2),
        "control_plane": round(one.costs.control_plane, 2),
        "disk": round(one.costs.disk, 2),
        "traffic": round(one.costs.traffic, 2),
        "source": f"{one.machine.source}, {one.machine.date}",
    }


def checks(load: Load, assumed: Assumptions, plans: list[Plan]) -> list[dict[str, Any]]:
    """Play plans event by event, and give both results."""
    from binderlet.planner.load import concurrency
    from binderlet.planner.simulate import simulate_cluster, simulate_fixed
    from binderlet.planner.strategies import per_node

    sessions = concurrency(load)
    mean = sum(sessions) / len(sessions)
    found = []
    for one in {each.name: each for each in plans}.values():
        if one.kind == "cluster":
            fit, spare = per_node(assumed), round(assumed.spare * mean)
            played = simulate_cluster(load, fit, spare=spare, lag=assumed.lag, idle=assumed.idle)
            machines = (round(sum(one.nodes) / len(one.nodes), 2), round(played.node_hours / played.hours, 2))
        else:
            played, machines = simulate_fixed(load, one.places), (one.count, one.count)
        found.append(
            {
                "plan": one.name,
                "wait_p95_seconds": {"formula": round(one.wait_p95, 1), "played": round(played.wait(0.95), 1)},
                "sessions_mean": {"formula": round(mean, 1), "played": round(played.mean, 1)},
                "machines_mean": {"formula": machines[0], "played": machines[1]},
                "launches": played.launches,
            }
        )
    return found


def say(answer: dict[str, Any]) -> list[str]:
    """Say the answers in lines."""
    load, currency = answer["load"], answer["currency"]
    lines = [
        f"{load['launches_per_day']:g} launches a day, sessions of {load['mean_session_minutes']:g} minutes (mean):",
        f"{load['sessions_mean']:g} at once, {load['sessions_peak']:g} at the busiest time.",
        "",
        f"{currency + ' a month':>14} {'places':>7} {'p95 wait':>9}  plan",
    ]
    lines += [
        f"{one['month']:>14,.2f} {one['places']:>7} {seconds(one['wait_p95_seconds']):>9}  {one['plan']}"
        for one in answer["plans"]
    ]
    best = answer["cheapest"]
    limit = seconds(answer["wait_seconds"])
    lines += ["", f"Cheapest with a p95 wait of at most {limit}: {money(best, currency)}."]
    second = answer["second_machine"]
    lines.append(
        f"A second {second['machine']} pays off above {second['above_launches_per_day']:,} launches on an average day."
    )
    lines += ["", f"{currency} {answer['budget']['month']:g} a month buy:"]
    lines += [
        f"{one['launches_per_day']:>14,} launches a day  {one['plan']} ({one['month']:,.2f})"
        for one in answer["budget"]["buys"]
    ]
    lines += ["", "The cheapest, if"]
    lines += [f"  {one['if']}: {money(one['cheapest'], currency)}" for one in answer["sensitivity"]]
    for one in answer["check"]:
        wait, nodes = one["wait_p95_seconds"], one["machines_mean"]
        lines.append(
            f"Played {one['launches']:,} launches with {one['plan']}: p95 wait {seconds(wait['played'])} (formula "
            f"{seconds(wait['formula'])}), {nodes['played']:g} machines (formula {nodes['formula']:g})."
        )
    return lines


def money(one: dict[str, Any] | None, currency: str) -> str:
    """Say a plan and its cost."""
    return "none of these" if one is None else f"{one['plan']}, {currency} {one['month']:,.2f} a month"


def seconds(number: float) -> str:
    """Say a wait."""
    return f"{number:.0f} s" if number < 2 * MINUTE else f"{number / MINUTE:.0f} min"
