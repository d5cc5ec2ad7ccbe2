"""One look at all members."""

from __future__ import annotations

import pytest

from binderlet.federation.config import Federation
from binderlet.federation.look import describe, look_once
from support.members import FakeMember


async def test_one_look() -> None:
    """Every member is asked once."""
    with FakeMember("m") as member:
        found = await look_once(Federation.model_validate({"members": {"m": {"url": member.base, "prime": True}}}))
        assert member.paths().count("/health") == 1
    assert list(found.active_hosts()) == ["m"]


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({}, "m: up, weight 1 of 2"),
        ({"prime": True}, "m: up, weight 1 of 2, prime"),
        ({"room": {"quota": 9, "total": 2}, "reason": "ramp"}, "m: up, weight 1 of 2 (ramp), 7 of 9 places free"),
    ],
)
def test_a_line(more: dict[str, object], said: str) -> None:
    """A member's state is a line."""
    row = {"name": "m", "state": "up", "weight": 2, "effective_weight": 1, "reason": "", "room": None, "prime": False}
    assert describe(row | more) == said
