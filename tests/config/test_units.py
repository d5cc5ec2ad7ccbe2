"""Durations and sizes as people write them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from binderlet.config.units import format_bytes, format_duration, parse_bytes, parse_duration


@pytest.mark.parametrize(
    ("text", "seconds"), [("90s", 90), ("90", 90), ("1.5m", 90), (" 6h ", 21600), ("7 d", 604800), (3, 3), (None, None)]
)
def test_durations(text: object, seconds: object) -> None:
    """Durations are read in every unit; what is no text is left for pydantic to judge."""
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(
    ("text", "size"), [("512M", 512 * 1024**2), ("2g", 2 * 1024**3), ("2GiB", 2 * 1024**3), ("7", 7), (1.5, 1.5)]
)
def test_sizes(text: object, size: object) -> None:
    """Sizes are read in every unit, as powers of 1024."""
    assert parse_bytes(text) == size


@pytest.mark.parametrize("text", ["", "10x", "-5s", "s", "1h30m"])
def test_bad_duration(text: str) -> None:
    """What is no duration says how to write one."""
    with pytest.raises(ValueError, match="write 90s, 10m, 6h or 7d"):
        parse_duration(text)


@pytest.mark.parametrize("text", ["", "10x", "-5M", "G"])
def test_bad_size(text: str) -> None:
    """What is no size says how to write one."""
    with pytest.raises(ValueError, match="write 512M or 2G"):
        parse_bytes(text)


@pytest.mark.parametrize(("seconds", "text"), [(0, "0s"), (0.5, "0.5s"), (90, "90s"), (600, "10m"), (86400, "1d")])
def test_format_duration(seconds: float, text: str) -> None:
    """Seconds are written in the largest unit that divides them."""
    assert format_duration(seconds) == text


@given(st.integers(min_value=0, max_value=2**60))
def test_sizes_come_back(size: int) -> None:
    """A size that is written and read again is the same."""
    assert parse_bytes(format_bytes(size)) == size


@given(st.integers(min_value=0, max_value=999_999))
def test_durations_come_back(seconds: int) -> None:
    """A duration that is written and read again is the same."""
    assert parse_duration(format_duration(seconds)) == seconds
