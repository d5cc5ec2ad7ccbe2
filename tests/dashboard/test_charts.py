"""Charts as values: table, CSV and JSON."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from binderlet.dashboard.charts import Chart, Kind, Mark, Series, moment, number, to_csv, to_dict, to_json

CHART = Chart(
    "launches",
    "Launches",
    "By member.",
    Kind.STACK,
    "launches",
    (86400.0, 172800.0),
    (Series("one", (1.0, 2.5)), Series("two", (None, 3.0))),
    marks=(Mark(172800.0, "two joined"),),
)


def test_a_table() -> None:
    """The first line names the columns; a missing value is empty."""
    assert CHART.rows() == [("Day", "one", "two"), ("1970-01-02", "1", ""), ("1970-01-03", "2.5", "3")]


def test_names_instead_of_times() -> None:
    """Bars have labels, other positions are numbers."""
    assert replace(CHART, labels=("a", "b"), axis="Repository").rows()[1][0] == "a"
    assert replace(CHART, is_time=False, positions=(0.5, 12.0)).position(0) == "0.5"


def test_csv_does_not_run_in_a_spreadsheet() -> None:
    """A name that a spreadsheet would take for a formula is text."""
    text = to_csv(replace(CHART, labels=('=cmd|"x"', "b,c")))
    assert text == 'Day,one,two\n"\'=cmd|""x""",1,\n"b,c",2.5,3\n'


def test_json() -> None:
    """All that a script needs to draw it."""
    told = json.loads(to_json([CHART]))["charts"][0]
    assert told == json.loads(json.dumps(to_dict(CHART)))
    assert told["positions"] == [86400.0, 172800.0]
    assert told["series"][1] == {"name": "two", "values": [None, 3.0]}
    assert told["marks"] == [{"at": 172800.0, "text": "two joined"}]
    assert told["time"] is True


def test_empty() -> None:
    """A chart without any value but nothing is empty."""
    assert not CHART.is_empty
    assert replace(CHART, series=(Series("one", (None, 0.0)),)).is_empty


@pytest.mark.parametrize(("value", "text"), [(None, ""), (3.0, "3"), (0.12345, "0.123"), (1234.56, "1234.6")])
def test_numbers(value: float | None, text: str) -> None:
    """Numbers have the digits that say something."""
    assert number(value) == text


def test_times() -> None:
    """A day's beginning is a day, any other time has its hour."""
    assert moment(86400 + 3660) == "1970-01-02 01:01"
