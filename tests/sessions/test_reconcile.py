"""Engine, routes and memory compared, as a table."""

from __future__ import annotations

from dataclasses import replace

import pytest

from binderlet.model import Route, SessionState
from binderlet.sessions.reconcile import Known, Mend, Reconciled, compare
from support.values import SESSION

A = replace(SESSION, id="a", address="10.0.0.1:8888")
B = replace(SESSION, id="b", address="10.0.0.2:8888")
MOVED = replace(A, address="10.0.0.9:8888")
ENDED = replace(A, state=SessionState.ENDED, address="")
NO_ADDRESS = replace(A, address="", state=SessionState.STARTING)
ROUTED = {"a": Known(A, routed=True)}
UNROUTED = {"a": Known(A, routed=False)}
ROUTE = {"a": A.address}


@pytest.mark.parametrize(
    ("listed", "routes", "known", "mend"),
    [
        ([], {}, {}, Mend()),
        ([A], ROUTE, ROUTED, Mend()),
        ([A], {}, ROUTED, Mend(add=(Route("a", A.address),))),  # the router lost it
        ([A], {}, UNROUTED, Mend()),  # its launch is not that far
        ([MOVED], ROUTE, ROUTED, Mend(add=(Route("a", MOVED.address),))),  # the engine restarted it
        ([A], ROUTE, {}, Mend(found=(A,))),  # an earlier control plane's
        ([MOVED], ROUTE, {}, Mend(found=(MOVED,), add=(Route("a", MOVED.address),))),
        ([A], {}, {}, Mend(found=(A,))),  # the same, and its visitor was not told
        ([NO_ADDRESS], {}, ROUTED, Mend()),  # nowhere to lead to
        ([], ROUTE, ROUTED, Mend(gone=("a",), remove=("a",))),
        ([], ROUTE, {}, Mend(remove=("a",))),
        ([ENDED], ROUTE, ROUTED, Mend(ended=(ENDED,), remove=("a",))),
        ([ENDED], {}, {}, Mend(ended=(ENDED,))),
        ([A, B], ROUTE, ROUTED, Mend(found=(B,))),
        # The router is silent: routes stay as they are.
        ([A], None, ROUTED, Mend()),
        ([], None, ROUTED, Mend(gone=("a",))),
        ([A], None, {}, Mend(found=(A,))),
    ],
)
def test_what_differs_is_mended(
    listed: list[object], routes: dict[str, str] | None, known: dict[str, Known], mend: Mend
) -> None:
    """The engine is the truth; nothing that runs is ended."""
    assert compare(listed, routes, known) == mend  # type: ignore[arg-type]  # sessions, in a table


@pytest.mark.parametrize("listed", [[], [A], [ENDED]])
@pytest.mark.parametrize("routes", [{}, ROUTE])
@pytest.mark.parametrize("known", [{}, ROUTED])
def test_what_is_being_started_or_stopped_is_left_alone(
    listed: list[object], routes: dict[str, str], known: dict[str, Known]
) -> None:
    """Whoever does that also cleans up."""
    assert compare(listed, routes, known, {"a"}) == Mend()  # type: ignore[arg-type]  # sessions, in a table


def test_mending_twice_changes_nothing_more() -> None:
    """After the plan is done there is nothing left to do."""
    mend = compare([A, B], {"gone": "10.0.0.3:1"}, ROUTED)
    assert (mend.found, mend.add, mend.remove) == ((B,), (Route("a", A.address),), ("gone",))
    known = ROUTED | {"b": Known(B, routed=False)}
    assert compare([A, B], ROUTE, known) == Mend()


def test_a_result_says_whether_anything_changed() -> None:
    """Only then is it logged and told."""
    assert not Reconciled(5).changed
    assert Reconciled(5, found=(A,)).changed
    assert Reconciled(5, routes_removed=1).changed
