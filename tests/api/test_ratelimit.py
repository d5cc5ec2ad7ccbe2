"""The launches one client may ask for."""

from __future__ import annotations

import pytest

from binderlet.api.ratelimit import WINDOW, Allowance, RateLimiter
from binderlet.errors import RateLimited


def test_no_limit_counts_nothing() -> None:
    """With limit 0 nothing is counted and nothing is said."""
    limiter = RateLimiter(0)
    assert limiter.charge("1.2.3.4", 0) is None
    assert len(limiter) == 0


def test_the_headers_say_what_is_left() -> None:
    """Each launch leaves one fewer until the window, which began with the first, ends."""
    limiter = RateLimiter(2)
    assert limiter.charge("a", 100) == Allowance(2, 1, 100 + WINDOW)
    left = limiter.charge("a", 200)
    assert left is not None
    assert left.headers == {
        "x-ratelimit-limit": "2",
        "x-ratelimit-remaining": "0",
        "x-ratelimit-reset": str(int(100 + WINDOW)),
    }


def test_retry_after_is_the_time_that_is_left() -> None:
    """A refusal says the seconds until the window ends, not the length of a window."""
    limiter = RateLimiter(1)
    limiter.charge("a", 0)
    with pytest.raises(RateLimited, match="in 600 seconds") as caught:
        limiter.charge("a", WINDOW - 600)
    assert caught.value.retry_after == 600


def test_a_new_window_begins_when_the_old_one_has_ended() -> None:
    """An hour after the first launch all are there again, and other clients were never touched."""
    limiter = RateLimiter(1)
    limiter.charge("a", 0)
    limiter.charge("b", 0)
    assert limiter.charge("a", WINDOW) == Allowance(1, 0, 2 * WINDOW)


def test_ended_windows_are_forgotten() -> None:
    """Memory holds the clients of the last hour alone."""
    limiter = RateLimiter(1)
    for number in range(100):
        limiter.charge(f"early {number}", number)
    limiter.charge("late", WINDOW + 200)
    assert len(limiter) == 1


def test_memory_is_bounded_under_attack() -> None:
    """A flood of addresses pushes out the oldest windows instead of growing."""
    limiter = RateLimiter(1, clients=10)
    for number in range(1000):
        limiter.charge(f"bot {number}", 0)
    assert len(limiter) == 10
