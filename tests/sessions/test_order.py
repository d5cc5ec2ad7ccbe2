"""An order is a value."""

from __future__ import annotations

from binderlet.sessions.order import SessionOrder
from support.values import COMMIT, IMAGE, SPEC


def test_an_order_needs_no_client() -> None:
    """Launches that nobody's browser asked for have no client's address."""
    order = SessionOrder("launch-1", SPEC, COMMIT, IMAGE.name, "http://binder.test/")
    assert order == SessionOrder("launch-1", SPEC, COMMIT, IMAGE.name, "http://binder.test/", "")
