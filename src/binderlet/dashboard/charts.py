"""A chart as a value: what is drawn on a page, in a file, and written as a table are the same numbers. Pure."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum

Value = float | None


class Kind(StrEnum):
    """How it is drawn."""

    LINES = "lines"
    STACK = "stack"
    """Areas on top of each other."""
    BARS = "bars"
    """One value each, for names or hours."""


@dataclass(frozen=True, slots=True)
class Series:
    """One line, area or set of bars."""

    name: str
    values: tuple[Value, ...]
    """None where there is no value; as many as there are positions."""


@dataclass(frozen=True, slots=True)
class Mark:
    """Something that happened at one position."""

    at: float
    text: str


@dataclass(frozen=True, slots=True)
class Chart:
    """One chart. Positions are seconds since the epoch where ``labels`` is empty and ``is_time``, else numbers."""

    id: str
    """``[a-z-]``, for URLs and file names."""
    title: str
    note: str
    """One sentence: what is shown, and how it was counted."""
    kind: Kind
    unit: str
    positions: tuple[float, ...]
    series: tuple[Series, ...]
    labels: tuple[str, ...] = ()
    """Names of the positions, for bars."""
    marks: tuple[Mark, ...] = ()
    axis: str = "Day"
    """What the positions are."""
    is_time: bool = True

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to draw."""
        return not any(value for series in self.series for value in series.values)

    def rows(self) -> list[tuple[str, ...]]:
        """Give it as a table: a line of names, then a line per position."""
        table = [(self.axis, *(series.name for series in self.series))]
        table += [
            (self.position(index), *(number(series.values[index]) for series in self.series))
            for index in range(len(self.positions))
        ]
        return table

    def position(self, index: int) -> str:
        """Name a position for people and programs."""
        if self.labels:
            return self.labels[index]
        return moment(self.positions[index]) if self.is_time else number(self.positions[index])


def to_csv(chart: Chart) -> str:
    """Write it as comma-separated values, with a line of names; a text that a spreadsheet would run is quoted."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    for row in chart.rows():
        writer.writerow([f"'{cell}" if cell[:1] in {"=", "+", "@", "\t"} else cell for cell in row])
    return text.getvalue()


def to_dict(chart: Chart) -> dict[str, object]:
    """Give it as JSON has it; the pages' script draws this."""
    return {
        "id": chart.id,
        "title": chart.title,
        "note": chart.note,
        "kind": str(chart.kind),
        "unit": chart.unit,
        "axis": chart.axis,
        "time": chart.is_time and not chart.labels,
        "positions": list(chart.positions),
        "labels": list(chart.labels),
        "series": [{"name": series.name, "values": list(series.values)} for series in chart.series],
        "marks": [{"at": mark.at, "text": mark.text} for mark in chart.marks],
    }


def to_json(charts: Sequence[Chart]) -> str:
    """Write charts as one JSON document."""
    return json.dumps({"charts": [to_dict(chart) for chart in charts]}, indent=1)


def number(value: Value) -> str:
    """Write a number short: nothing for none, and no decimals that say nothing."""
    if value is None:
        return ""
    if value == int(value):
        return str(int(value))
    return f"{value:.3g}" if abs(value) < 100 else f"{value:.1f}"  # noqa: PLR2004 - three digits


def moment(seconds: float) -> str:
    """Write a time: a day where it is a day's beginning."""
    at = datetime.fromtimestamp(seconds, UTC)
    return at.strftime("%Y-%m-%d" if seconds % 86400 == 0 else "%Y-%m-%d %H:%M")
