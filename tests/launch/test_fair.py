"""The fair queue."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from binderlet.launch.fair import FairQueue


def filled(*pairs: tuple[str, str]) -> FairQueue[str]:
    """A queue with (key, owner) pairs put in order."""
    queue: FairQueue[str] = FairQueue()
    for key, owner in pairs:
        queue.put(key, owner)
    return queue


def test_owners_take_turns() -> None:
    """An owner with one key does not wait behind all keys of another."""
    queue = filled(("a1", "a"), ("a2", "a"), ("a3", "a"), ("b1", "b"))
    assert list(queue.order()) == ["a1", "b1", "a2", "a3"]
    assert [queue.pop() for _ in range(5)] == ["a1", "b1", "a2", "a3", None]


def test_keys_that_may_not_go_are_passed_over() -> None:
    """A key that may not go yet keeps its place and lets the next one go."""
    queue = filled(("a1", "a"), ("b1", "b"))
    assert queue.pop(lambda key: key != "a1") == "b1"
    assert queue.pop(lambda key: key != "a1") is None
    assert (queue.pop(), len(queue)) == ("a1", 0)


def test_remove_takes_out_any_key() -> None:
    """A key can leave from anywhere, once."""
    queue = filled(("a1", "a"), ("b1", "b"), ("b2", "b"))
    assert (queue.remove("b1"), queue.remove("b1"), queue.remove("a1")) == (True, False, True)
    assert list(queue.order()) == ["b2"]


@given(st.lists(st.tuples(st.integers(0, 4), st.booleans()), max_size=40))
def test_order_says_what_pop_gives(script: list[tuple[int, bool]]) -> None:
    """Whatever came and went before, the shown order is the order of service, and nothing is lost."""
    queue: FairQueue[int] = FairQueue()
    for key, (owner, leave) in enumerate(script):
        queue.put(key, str(owner))
        if leave:
            queue.pop()
    order = list(queue.order())
    assert [queue.pop() for _ in range(len(queue))] == order
