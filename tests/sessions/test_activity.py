"""What counts as use: scripted readings of the router's counters."""

from __future__ import annotations

import itertools
import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from binderlet.model import Traffic
from binderlet.sessions.activity import Activity, is_use
from binderlet.sessions.hibernation import COMPUTES

OPEN_TAB = Traffic(websockets=2, requests=40, bytes_in=50_000, bytes_out=900_000)


def later(before: Traffic, seconds: float = 30.0, **more: int) -> Traffic:
    """Give the counters of an open, idle tab some time later, and of what else happened."""
    pings = int(seconds // 30) * before.websockets
    rest = Traffic(
        before.websockets,
        before.requests + more.get("requests", 0),
        before.bytes_in + 6 * pings + more.get("bytes_in", 0),
        before.bytes_out + 2 * pings + more.get("bytes_out", 0),
    )
    return replace(rest, websockets=more.get("websockets", rest.websockets))


@pytest.mark.parametrize(
    ("what", "seconds", "used"),
    [
        ({}, 30, False),
        ({}, 600, False),
        ({"bytes_in": 12, "bytes_out": 4}, 30, False),  # one more ping than there should be
        ({"websockets": 0, "bytes_in": 16, "bytes_out": 8}, 30, False),  # the tab was closed
        ({"requests": 1}, 30, True),
        ({"bytes_in": 394, "bytes_out": 3076}, 30, True),  # one cell
        ({"bytes_out": 2_000_000}, 30, True),  # a download, or a cell that prints
        ({"bytes_in": 2_000_000}, 30, True),  # an upload
    ],
)
def test_an_idle_open_tab_is_no_use(what: dict[str, int], seconds: float, used: bool) -> None:  # noqa: FBT001 - a table
    """Pings do not count, however many; a request, a cell, an upload and a download do."""
    assert is_use(OPEN_TAB, later(OPEN_TAB, seconds, **what), seconds) is used


@given(st.integers(0, 50), st.integers(1, 1000))
def test_pings_alone_are_never_use(websockets: int, times: int) -> None:
    """However many tabs are open for however long."""
    tab = replace(OPEN_TAB, websockets=websockets)
    assert not is_use(tab, later(tab, 30.0 * times), 30.0 * times)


def test_a_session_is_active_when_first_seen_and_then_by_its_traffic() -> None:
    """The idle time of a new session begins when it is seen first."""
    activity = Activity.empty(0)
    activity.observe({}, ["a"], 100)
    assert activity.last_active == {"a": 100}
    activity.observe({"a": OPEN_TAB}, ["a"], 130)
    assert activity.last_active == {"a": 130}
    tab = OPEN_TAB
    for minute in range(1, 10):
        tab = later(tab, 60)
        activity.observe({"a": tab}, ["a"], 130 + 60 * minute)
    assert activity.last_active == {"a": 130}
    activity.observe({"a": later(tab, requests=1)}, ["a"], 900)
    assert activity.last_active == {"a": 900}


def test_a_session_without_any_traffic_goes_idle() -> None:
    """A session that nobody ever opened has no counters; that is no use."""
    activity = Activity.empty(0)
    for now in (0, 30, 60):
        activity.observe({}, ["a"], now)
    assert activity.last_active == {"a": 0}


def test_after_an_outage_of_the_router_everyone_has_the_whole_time_anew() -> None:
    """While nobody could get through, nobody became idle."""
    activity = Activity.empty(0)
    activity.observe({"a": OPEN_TAB}, ["a", "b"], 0)
    activity.interrupt()
    activity.observe({"a": OPEN_TAB}, ["a", "b"], 500)
    assert activity.last_active == {"a": 500, "b": 500}
    activity.observe({"a": OPEN_TAB}, ["a", "b"], 530)
    assert activity.last_active == {"a": 500, "b": 500}


@pytest.mark.parametrize(
    "after",
    [{}, {"a": Traffic(0, 0, 0, 0)}, {"a": replace(OPEN_TAB, bytes_in=1)}, {"a": replace(OPEN_TAB, bytes_out=1)}],
)
def test_counters_that_fell_count_as_an_outage(after: dict[str, Traffic]) -> None:
    """A data path that began to count anew cannot be compared with what it was."""
    activity = Activity.empty(0)
    activity.observe({"a": OPEN_TAB}, ["a", "b"], 0)
    activity.observe(after, ["a", "b"], 30)
    assert activity.last_active == {"a": 30, "b": 30}


def test_a_session_that_ended_is_no_outage() -> None:
    """That its counters are gone says nothing about the others."""
    activity = Activity.empty(0)
    activity.observe({"a": OPEN_TAB, "b": OPEN_TAB}, ["a", "b"], 0)
    activity.observe({"b": OPEN_TAB}, ["b"], 30)
    assert activity.last_active == {"b": 0}


def test_use_that_traffic_does_not_show_can_be_told() -> None:
    """A cell that computes in silence keeps its session."""
    activity = Activity.empty(0)
    activity.observe({}, ["a"], 0)
    activity.touch("a", 50)
    activity.observe({}, ["a"], 60)
    assert activity.last_active == {"a": 50}


def test_a_restart_forgets_nothing() -> None:
    """What was known goes through a file and is gone on with."""
    activity = Activity.empty(0)
    activity.observe({"a": OPEN_TAB}, ["a"], 0)
    again = Activity.from_json(json.loads(json.dumps(activity.as_json())))
    assert again == activity
    again.observe({"a": later(OPEN_TAB, 600)}, ["a"], 600)
    assert again.last_active == {"a": 0}


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 500), st.integers(0, 5000)), min_size=1))
def test_last_use_never_lies_in_the_future_or_goes_back(steps: list[tuple[int, int, int]]) -> None:
    """Whatever the counters do."""
    activity, now, tab = Activity.empty(0), 0.0, OPEN_TAB
    before = 0.0
    for requests, bytes_in, bytes_out in steps:
        now += 30
        tab = later(tab, requests=requests, bytes_in=bytes_in, bytes_out=bytes_out)
        activity.observe({"a": tab}, ["a"], now)
        assert before <= activity.last_active["a"] <= now
        before = activity.last_active["a"]


def test_what_runs_by_itself_is_told_from_use() -> None:
    """How long goes from the last use by somebody, and is forgotten with the next one or with the session."""
    activity = Activity.empty(0)
    activity.observe({}, ["a", "b"], 100)
    assert activity.busy_for("a", 400) == 300
    activity.touch("a", 700)
    activity.touch("b", 700)
    activity.extended = {"a": 5000, "b": 5000}
    assert (activity.last_active["a"], activity.busy_for("a", 1000)) == (700, 900)
    activity.touch("a", 1300)
    assert activity.busy_for("a", 1300) == 1200
    assert Activity.from_json(json.loads(json.dumps(activity.as_json()))) == activity
    activity.observe({"a": replace(OPEN_TAB)}, ["a"], 1400)
    assert (activity.busy_since, activity.extended, activity.busy_for("a", 1500)) == ({}, {"a": 5000}, 100)
    old = {key: value for key, value in activity.as_json().items() if key not in {"busy_since", "extended"}}
    assert Activity.from_json(old).extended == {}


def recorded(name: str) -> list[tuple[float, Traffic, float]]:
    """A trace of a real Chromium with JupyterLab: seconds, the router's counters and CPU seconds of each reading."""
    rows = json.loads((Path(__file__).parent / "traces" / f"{name}.json").read_text())
    return [(row[0], Traffic(*row[1:5]), row[5]) for row in rows]


@pytest.mark.parametrize(
    ("name", "used", "computes"),
    [
        ("idle_tab", False, False),
        ("nobody", False, False),
        ("cell_tab_closed", False, True),
        ("download", True, False),
        ("typing", True, False),  # the base image's extension says so
    ],
)
def test_recorded_traffic(name: str, used: bool, computes: bool) -> None:  # noqa: FBT001 - a table
    """An idle tab is no use, also without its pings; a download and typing are; a cell shows by CPU time alone."""
    trace = recorded(name)
    pairs = list(itertools.pairwise(trace))
    assert any(is_use(before, after, later - earlier) for (earlier, before, _), (later, after, _) in pairs) is used
    if not used:
        assert not is_use(trace[0][1], trace[-1][1], trace[-1][0] - trace[0][0])
    shares = [(after - before) / (later - earlier) for (earlier, _, before), (later, _, after) in pairs]
    assert (min(shares[1:-1]) >= COMPUTES) is computes


def test_recorded_typing_without_extension() -> None:
    """Keys send nothing by themselves: after what is saved at the beginning, typing looks like an idle tab."""
    trace = recorded("typing_without_extension")
    used = [is_use(a, b, later - earlier) for (earlier, a, _), (later, b, _) in itertools.pairwise(trace)]
    assert used == [True] + [False] * (len(trace) - 2)
