"""Traffic as an archive shows it."""

from __future__ import annotations

import numpy as np
import pytest

from binderlet.federation.traffic import DAY, Load, Traffic, rate

LOAD = Load(10_000, repositories=50, crowds_per_month=0)


def test_rate() -> None:
    """There is a night, a weekend and a summer, and over a year the mean is what was asked for."""
    assert rate(LOAD, 3 * 3600) < rate(LOAD, 15 * 3600) / 3
    assert rate(LOAD, 5 * DAY) < rate(LOAD, DAY) * 0.7
    hours = [rate(LOAD, hour * 3600) for hour in range(364 * 24)]
    assert sum(hours) / len(hours) * DAY == pytest.approx(10_000, rel=0.02)


def test_launches() -> None:
    """Loved repositories are launched far more often, and the seed decides all."""
    made = [Traffic(LOAD, np, np.random.default_rng(7)) for _ in range(2)]
    first, second = ([one.step(hour * 3600.0, 3600.0) for hour in range(48)] for one in made)
    assert all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))
    counts = np.bincount(np.concatenate(first), minlength=50)
    assert counts[0] > 5 * counts[40:].mean()
    assert counts.sum() == pytest.approx(18_400, rel=0.05)


def test_a_crowd() -> None:
    """A crowd clicks one repository for a while, as many as an hour brings, or as was asked for."""
    for size, expected in ((0.0, 1_000_000 / 24), (5000.0, 5000)):
        load = Load(1_000_000, repositories=50, crowds_per_month=1e9, crowd_size=size, crowd_seconds=600)
        traffic = Traffic(load, np, np.random.default_rng(1))
        calm = Traffic(Load(1_000_000, 50, 0), np, np.random.default_rng(1))
        more = sum(len(traffic.step(step * 60.0, 60.0)) - len(calm.step(step * 60.0, 60.0)) for step in range(10))
        assert more == pytest.approx(expected, rel=0.1)
        assert traffic.crowds == 1
