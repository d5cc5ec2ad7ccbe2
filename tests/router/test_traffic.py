"""Counters that only grow."""

from __future__ import annotations

from binderlet.model import Traffic
from binderlet.router.traffic import NOTHING, Tally, add, traffic_of


def test_tables_are_joined() -> None:
    """Requests and bytes come from one table, open WebSockets from the other; what is missing is 0."""
    act = {"a": {"conn_cur": 2, "http_req_cnt": 3, "bytes_in_cnt": 4, "bytes_out_cnt": 5}, "b": {}}
    ws = {"a": {"conn_cur": 1}, "c": {"conn_cur": 1}}
    assert traffic_of(act, ws) == {"a": Traffic(1, 3, 4, 5), "b": NOTHING}


def test_sums() -> None:
    """Counters are added one by one."""
    assert add([Traffic(1, 2, 3, 4), Traffic(10, 20, 30, 40)]) == Traffic(11, 22, 33, 44)
    assert add([]) == NOTHING


def test_story_of_a_reload_and_a_crash() -> None:
    """An old worker counts beside the new one, what it counted stays when it ends, and its WebSockets go."""
    tally = Tally()
    assert tally.count({1: {"a": Traffic(1, 5, 50, 500)}}) == {"a": Traffic(1, 5, 50, 500)}
    both = {1: {"a": Traffic(1, 5, 60, 600)}, 2: {"a": Traffic(0, 1, 10, 100), "b": Traffic(0, 1, 1, 1)}}
    assert tally.count(both) == {"a": Traffic(1, 6, 70, 700), "b": Traffic(0, 1, 1, 1)}
    assert tally.count({2: {"a": Traffic(0, 1, 10, 100)}}) == {"a": Traffic(0, 6, 70, 700)}
    assert tally.count({3: {}}) == {"a": Traffic(0, 6, 70, 700)}
    assert tally.count({3: {"a": Traffic(1, 1, 1, 1)}}) == {"a": Traffic(1, 7, 71, 701)}


def test_forgotten_sessions_do_not_come_back() -> None:
    """What ended workers counted, and what a living one counted until now, goes with the session."""
    tally = Tally()
    tally.count({1: {"a": Traffic(0, 5, 50, 500)}})
    tally.count({2: {"a": Traffic(0, 1, 1, 1), "b": Traffic(0, 2, 2, 2)}})
    tally.forget("a")
    tally.forget("never")
    assert tally.count({3: {}}) == {"b": Traffic(0, 2, 2, 2)}
