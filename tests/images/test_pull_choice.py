"""Whether an image is pulled or built, as tables."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from binderlet.images.pull_choice import (
    FIRST_RATE,
    GRACE,
    Rate,
    is_still_worth,
    is_worth_pulling,
    missing_bytes,
    pull_seconds,
)
from binderlet.images.registry.base import Layer, Progress, Remote

MB = 2**20
REMOTE = Remote("r:1", "sha256:1", "sha256:2", (Layer("a", 100), Layer("b", 20), Layer("c", 3)), {}, "", "there")


@pytest.mark.parametrize(("here", "size"), [((), 123), (("a",), 23), (("a", "b", "c", "d"), 0)])
def test_only_missing_layers_are_moved(here: tuple[str, ...], size: int) -> None:
    """Layers that are here already cost nothing."""
    assert missing_bytes(REMOTE, here) == size


@pytest.mark.parametrize(
    ("megabytes", "rate", "build", "pulls"),
    [
        (300, 50, 60, True),  # an ordinary image from a quick store
        (300, 1, 60, False),  # the same over a thin line
        (5000, 50, 60, False),  # a huge image of a quick build
        (5000, 50, 600, True),
        (0, 1, 0.1, True),  # nothing to move: never worse than a build, however quick that is
    ],
)
def test_what_takes_less_time(megabytes: int, rate: int, build: float, *, pulls: bool) -> None:
    """The quicker of the two is chosen."""
    assert is_worth_pulling(megabytes * MB, Rate(rate * MB), build) is pulls


@given(size=st.integers(0, 10**12), rate=st.floats(1, 10**10), build=st.floats(0, 10**5))
def test_never_much_slower_than_a_build(size: int, rate: float, build: float) -> None:
    """What is pulled is expected to take no longer than the build, or a second."""
    if is_worth_pulling(size, Rate(rate), build):
        assert pull_seconds(size, Rate(rate)) <= max(build, 1.0)


def test_rates_are_learned() -> None:
    """A few pulls tell how fast a registry is; tiny ones tell nothing."""
    rate = Rate()
    rate.measured(1000, 10)
    assert rate.bytes_per_second == FIRST_RATE
    for _ in range(10):
        rate.measured(100 * MB, 100)
    assert rate.bytes_per_second == pytest.approx(MB, rel=0.05)
    rate.measured(100 * MB, 0)
    assert rate.bytes_per_second == pytest.approx(MB, rel=0.05)


@pytest.mark.parametrize(
    ("done", "total", "elapsed", "goes_on"),
    [
        (0, 0, GRACE + 1, True),  # nothing to fetch is known yet: the engine looks, or unpacks
        (1, 100, GRACE - 1, True),  # too early to judge
        (50, 100, 20, True),  # 20 s to go
        (1, 100, 20, False),  # half an hour to go
        (0, 100, 20, False),  # nothing comes
        (100, 100, 500, True),  # all is here, it is being unpacked
    ],
)
def test_slow_pulls_are_given_up(done: int, total: int, elapsed: float, *, goes_on: bool) -> None:
    """A pull goes on unless it is expected to take much longer than a build of a minute."""
    assert is_still_worth(Progress(done, total), elapsed, 60) is goes_on
