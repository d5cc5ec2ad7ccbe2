"""Writes an evaluation as one page, in Markdown and in HTML. Pure."""

from __future__ import annotations

import base64
import html
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime

from binderlet.dashboard.charts import Chart
from binderlet.dashboard.evaluation import Evaluation, Money, Outage

STYLE = """\
:root { color-scheme: light; }
body { font: 16px/1.5 system-ui, sans-serif; color: #1d2433; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
h1, h2 { line-height: 1.2; } h2 { margin-top: 2rem; }
table { border-collapse: collapse; } th, td { padding: .25rem .8rem .25rem 0; text-align: left; vertical-align: top; }
tr + tr > * { border-top: 1px solid #e4ddd0; } img { max-width: 100%; height: auto; } figure { margin: 1rem 0; }
figcaption { color: #566072; font-size: .9rem; }
"""
SHOWN = 20
"""Outages, notes and errors listed; more are counted."""


@dataclass(frozen=True, slots=True)
class Section:
    """A heading, some sentences, a table, a list, charts by their ids."""

    title: str
    sentences: Sequence[str] = ()
    rows: Sequence[tuple[str, str]] = ()
    items: Sequence[str] = ()
    charts: Sequence[str] = ()


def sections(told: Evaluation) -> list[Section]:
    """Say everything once, for both forms."""
    found = [
        Section("At a glance", rows=_glance(told)),
        Section(
            "Launches",
            [_served(told)],
            [(member, f"{count:,} launches") for member, count in _ordered(told.members)],
            charts=("launches", "share"),
        ),
        Section("Reliability", _reliability(told), items=_outages(told.uptime.outages), charts=("outcomes",)),
        Section("Speed", rows=_latency(told), charts=("latency", "concurrency")),
    ]
    if told.money:
        found.append(Section("Cost", _cost(told.money, told)))
    found.append(Section("Effort", _effort(told), items=_notes(told)))
    found.append(Section(f"Without {told.member}", _without(told)))
    return [section for section in found if section.sentences or section.rows or section.items or section.charts]


def _served(told: Evaluation) -> str:
    mean = told.launches / told.days
    return f"{told.member} served {told.launches:,} launches in {told.days} days, {mean:,.0f} a day{_of_all(told)}."


def _of_all(told: Evaluation) -> str:
    if told.share is None or len(told.members) < 2:  # noqa: PLR2004 - a federation has more than one
        return ""
    return f", {100 * told.share:.1f} % of the {told.federation:,} launches of the federation"


def _ordered(counts: Mapping[str, int]) -> list[tuple[str, int]]:
    return sorted(((name, count) for name, count in counts.items() if count), key=lambda entry: (-entry[1], entry[0]))


def _glance(told: Evaluation) -> list[tuple[str, str]]:
    rows = [("Launches", f"{told.launches:,}")]
    if told.share is not None and len(told.members) > 1:
        rows.append(("Share of the federation", f"{100 * told.share:.1f} %"))
    if told.uptime.share is not None:
        rows.append(("Up and well", f"{100 * told.uptime.share:.2f} % of the time"))
    if told.success is not None:
        rows.append(("Launches that led to a session", f"{100 * told.success:.1f} %"))
    if told.latency["ready"][0] is not None:
        rows.append(("Time to a session, image there", _times(told.latency["ready"])))
    if told.session_hours:
        rows.append(("Session hours", f"{told.session_hours:,.0f}"))
    if told.money and told.money.per_launch is not None:
        rows.append(("Cost of a launch", amount(told.money.per_launch, told.money.currency)))
    if told.money and told.money.per_session_hour is not None:
        rows.append(("Cost of a session hour", amount(told.money.per_session_hour, told.money.currency)))
    rows.append(("Operators' work", f"{len(told.notes)} interventions, {_hours(told)}"))
    return rows


def _reliability(told: Evaluation) -> list[str]:
    lines = []
    if told.uptime.share is not None:
        lines.append(
            f"Since {stamp(told.uptime.known_since)}, when it was first noted, the service ran and was well "
            f"{100 * told.uptime.share:.2f} % of the time; {len(told.uptime.outages)} times it was not, for more than "
            "five minutes."
        )
    else:
        lines.append("Nothing was noted of whether the service ran.")
    if told.success is not None:
        failed = ", ".join(f"{code} {count:,}" for code, count in _ordered(told.codes)[:SHOWN])
        lines.append(
            f"{100 * told.success:.1f} % of the launches that were let in led to a session."
            + (f" The errors were: {failed}." if failed else "")
        )
    return lines


def _outages(outages: Sequence[Outage]) -> list[str]:
    longest = sorted(outages, key=lambda outage: -outage.seconds)[:SHOWN]
    return [
        f"{stamp(outage.begins)}: {outage.seconds / 60:.0f} minutes {'not well' if outage.ran else 'not running'}"
        for outage in sorted(longest, key=lambda outage: outage.begins)
    ]


def _latency(told: Evaluation) -> list[tuple[str, str]]:
    names = {"ready": "The image was there", "built": "An image was built"}
    rows = [(names[kind], _times(times)) for kind, times in told.latency.items() if times[0] is not None]
    return [*rows, ("Most sessions at once", f"{told.most_at_once:,}")] if told.most_at_once else rows


def _times(times: tuple[float | None, float | None, float | None]) -> str:
    names = ("median", "p95", "p99")
    return ", ".join(f"{name} {time:.2g} s" for name, time in zip(names, times, strict=True) if time is not None)


def _cost(money: Money, told: Evaluation) -> list[str]:
    lines = [f"{amount(money.total, money.currency)} for {told.days} days."]
    if money.per_launch is not None:
        lines.append(f"{amount(money.per_launch, money.currency)} for a launch.")
    if money.per_session_hour is not None:
        lines.append(f"{amount(money.per_session_hour, money.currency)} for an hour of a session.")
    return lines


def _hours(told: Evaluation) -> str:
    return f"{sum(note.minutes for note in told.notes) / 60:.1f} hours"


def _effort(told: Evaluation) -> list[str]:
    incidents = sum(note.kind == "incident" for note in told.notes)
    logged = f"Operators logged {len(told.notes)} interventions with 'binderlet note', {incidents} of them incidents"
    return [f"{logged}, {_hours(told)} in all."]


def _notes(told: Evaluation) -> list[str]:
    items = [f"{stamp(note.at)}: {note.text} ({note.minutes:g} minutes)" for note in told.notes[:SHOWN]]
    more = len(told.notes) - SHOWN
    return [*items, f"and {more} more"] if more > 0 else items


def _without(told: Evaluation) -> list[str]:
    if told.without is None:
        return []
    seen = told.without
    more = f", {seen.more:.2f} times what they did" if seen.more is not None else ""
    beyond = f"{seen.beyond:,} launches came in hours with more of them than the others together ever served in one"
    return [
        f"The other members would have had to serve {seen.launches:,} more launches{more}.",
        f"{beyond}: they would probably have waited or been refused.",
        "What others can serve is not known; this takes the most that they did for it.",
    ]


def amount(value: float, currency: str) -> str:
    """Write money: enough digits that something is left of it."""
    return f"{currency} {value:,.2f}" if value >= 1 else f"{currency} {value:.2g}"


def stamp(moment: float) -> str:
    """Write a time."""
    return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%d %H:%M UTC")


def heading(told: Evaluation) -> str:
    """Give the title of the report."""
    return f"{told.member}, {date.fromordinal(told.first)} to {date.fromordinal(told.last)}"


def to_markdown(told: Evaluation, charts: Sequence[Chart], pictures: Mapping[str, str]) -> str:
    """Write Markdown; ``pictures`` maps charts' ids to the files that it shows."""
    notes = {chart.id: chart for chart in charts}
    parts = [f"# {heading(told)}\n"]
    for section in sections(told):
        parts.append(f"## {section.title}\n")
        parts += [f"{sentence}\n" for sentence in section.sentences if sentence]
        if section.rows:
            parts.append("| | |\n|---|---|\n" + "".join(f"| {plain(a)} | {plain(b)} |\n" for a, b in section.rows))
        if section.items:
            parts.append("".join(f"- {plain(item)}\n" for item in section.items))
        for name in section.charts:
            if name in notes and name in pictures:
                parts.append(f"![{notes[name].title}]({pictures[name]})\n\n{notes[name].note}\n")
    return "\n".join(parts)


def plain(text: str) -> str:
    """Take what Markdown would understand out of a text."""
    return text.replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;").replace("\n", " ")


def to_html(told: Evaluation, charts: Sequence[Chart], pictures: Mapping[str, bytes]) -> str:
    """Write one page with nothing outside of it; ``pictures`` maps charts' ids to SVG."""
    known = {chart.id: chart for chart in charts}
    title = html.escape(heading(told))
    parts = [
        '<!doctype html>\n<html lang="en">\n<meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>{title}</title>\n<style>\n{STYLE}</style>\n<h1>{title}</h1>",
    ]
    for section in sections(told):
        parts.append(f"<h2>{html.escape(section.title)}</h2>")
        parts += [f"<p>{html.escape(sentence)}</p>" for sentence in section.sentences if sentence]
        if section.rows:
            rows = (f"<tr><th scope='row'>{html.escape(a)}</th><td>{html.escape(b)}</td></tr>" for a, b in section.rows)
            parts.append(f"<table>{''.join(rows)}</table>")
        if section.items:
            parts.append(f"<ul>{''.join(f'<li>{html.escape(item)}</li>' for item in section.items)}</ul>")
        parts += [_figure(known[name], pictures[name]) for name in section.charts if name in known and name in pictures]
    return "\n".join([*parts, "</html>\n"])


def _figure(chart: Chart, picture: bytes) -> str:
    data = base64.b64encode(picture).decode()
    return (
        f'<figure><img alt="{html.escape(chart.title)}" src="data:image/svg+xml;base64,{data}">'
        f"<figcaption>{html.escape(chart.note)}</figcaption></figure>"
    )
