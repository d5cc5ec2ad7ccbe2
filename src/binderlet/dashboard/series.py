"""Charts of launches, from counts per day and member. Pure.

A repository that was launched only a few times is not named: who launches a private or forgotten one is their business.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from binderlet.dashboard.charts import Chart, Kind, Mark, Series
from binderlet.dashboard.tallies import DayCount, start_of

SHOWN = 8
"""Members with a colour of their own; the smallest others are one."""
TOP = 20
OTHERS = "others"


def positions(first: int, last: int) -> tuple[float, ...]:
    """Give where each day begins."""
    return tuple(start_of(day) for day in range(first, last + 1))


def per_member(counts: Sequence[DayCount], first: int, last: int) -> dict[str, list[int]]:
    """Give the launches of each day per member, those with most first, small ones as ``others``."""
    totals: Counter[str] = Counter()
    for count in counts:
        totals[count.member] += count.launches
    named = [member for member, total in totals.most_common(SHOWN) if total]
    if len(totals) > SHOWN:
        named.append(OTHERS)
    found = {member: [0] * (last - first + 1) for member in named}
    for count in counts:
        if count.launches:
            found[count.member if count.member in found else OTHERS][count.day - first] += count.launches
    return found


def joined(first_days: Mapping[str, int], first: int, last: int) -> tuple[Mark, ...]:
    """Mark the day on which each member served its first launch, but for those who began it all."""
    began = min(first_days.values(), default=0)
    days = sorted((day, member) for member, day in first_days.items() if first <= day <= last and day > began)
    return tuple(Mark(start_of(day), f"{member} joined") for day, member in days)


def launches_chart(counts: Sequence[DayCount], first_days: Mapping[str, int], first: int, last: int) -> Chart:
    """Show who served how many launches each day."""
    members = per_member(counts, first, last)
    return Chart(
        "launches",
        "Launches per day",
        "Launches that led to a session, by the member of the federation that served them.",
        Kind.STACK,
        "launches",
        positions(first, last),
        tuple(Series(member, tuple(map(float, values))) for member, values in members.items()),
        marks=joined(first_days, first, last),
    )


def share_chart(counts: Sequence[DayCount], first_days: Mapping[str, int], first: int, last: int) -> Chart:
    """Show each member's share of a day's launches; no value where there were none."""
    members = per_member(counts, first, last)
    totals = [sum(column) for column in zip(*members.values(), strict=True)] or [0] * (last - first + 1)
    return Chart(
        "share",
        "Share of launches",
        "Each member's share of all launches of the day.",
        Kind.STACK,
        "%",
        positions(first, last),
        tuple(
            Series(
                member, tuple(100 * one / total if total else None for one, total in zip(values, totals, strict=True))
            )
            for member, values in members.items()
        ),
        marks=joined(first_days, first, last),
    )


def hours_chart(hours: Mapping[int, Sequence[int]]) -> Chart:
    """Show how many launches come in each hour of the day, on workdays and at weekends."""
    sums = {False: [0] * 24, True: [0] * 24}
    days = {False: 0, True: 0}
    for day, counts in hours.items():
        is_weekend = (day - 1) % 7 >= 5  # noqa: PLR2004 - Saturday; day 1 was a Monday
        days[is_weekend] += 1
        sums[is_weekend] = [total + count for total, count in zip(sums[is_weekend], counts, strict=True)]
    return Chart(
        "hours",
        "Hours of the day",
        "Mean launches per hour (UTC) of the day.",
        Kind.BARS,
        "launches per hour",
        tuple(map(float, range(24))),
        tuple(
            Series(name, tuple(total / max(1, days[is_weekend]) for total in sums[is_weekend]))
            for is_weekend, name in ((False, "workdays"), (True, "weekends"))
        ),
        labels=tuple(f"{hour:02}:00" for hour in range(24)),
        axis="Hour",
        is_time=False,
    )


def top_repositories(counts: Mapping[str, int], least: int, top: int = TOP) -> list[tuple[str, int]]:
    """List the repositories with most launches; those with fewer than ``least``, and the rest, are ``others``."""
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    named = [(name, count) for name, count in ordered[:top] if count >= least]
    rest = sum(counts.values()) - sum(count for _, count in named)
    return [*named, (OTHERS, rest)] if rest else named


def repositories_chart(counts: Mapping[str, int], least: int, top: int = TOP) -> Chart:
    """Show the repositories with most launches."""
    shown = [entry for entry in top_repositories(counts, least, top) if entry[0] != OTHERS]
    total = sum(counts.values())
    others = total - sum(count for _, count in shown)
    return Chart(
        "repositories",
        "Most launched repositories",
        f"{len(counts)} repositories were launched {total} times, {others} of them not in this list; a repository "
        f"with fewer than {least} launches is not named.",
        Kind.BARS,
        "launches",
        tuple(map(float, range(len(shown)))),
        (Series("launches", tuple(float(count) for _, count in shown)),),
        labels=tuple(name for name, _ in shown),
        axis="Repository",
        is_time=False,
    )
