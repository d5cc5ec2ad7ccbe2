"""What a month costs."""

from __future__ import annotations

import pytest

from binderlet.config.bucket import PriceSettings
from binderlet.images.costs import CALLS, Usage, monthly

DAY = 86400.0


def test_a_price_per_use() -> None:
    """Storage counts as it is now; egress and requests as if the month went on like this."""
    prices = PriceSettings(currency="USD", storage=0.023, egress=0.09, requests=0.005)
    usage = Usage(100 * 10**9, egress=10**9, registry_calls=100, storage_calls=600, seconds=DAY)
    costs = monthly(usage, prices)
    assert usage.requests == 600 + CALLS * 100
    assert costs.storage == pytest.approx(2.3)
    assert costs.egress == pytest.approx(2.7)
    assert costs.requests == pytest.approx(0.15)
    assert costs.total == pytest.approx(5.15)


def test_a_base_price_that_includes_much() -> None:
    """What the base price includes costs nothing more."""
    prices = PriceSettings(base=5, storage=0.005, storage_included="1T", egress=0.001, egress_included="1T")
    assert monthly(Usage(500 * 10**9, egress=10**9, seconds=DAY), prices).total == 5
    assert monthly(Usage(2 * 1024**4, seconds=DAY), prices).storage == pytest.approx(5.5, rel=0.01)


def test_the_first_hour_says_little() -> None:
    """What was moved in the first minute is not taken for what each minute moves."""
    prices = PriceSettings(egress=1.0)
    assert monthly(Usage(0, egress=10**9, seconds=1), prices).egress == pytest.approx(720)
