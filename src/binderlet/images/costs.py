"""What the bucket costs a month (pure): from what is stored, and from what was moved since the start."""

from __future__ import annotations

from dataclasses import dataclass

from binderlet.config.bucket import PriceSettings

GB = 1e9
"""Bytes of a provider's gigabyte."""
MONTH = 30 * 86400.0
CALLS = 4
"""Requests to the storage that one call to the registry makes, about: is a blob there, how large is it,
and then reads or writes it."""
LEAST = 3600.0
"""Seconds that must have passed until what was moved says something of a month."""


@dataclass(frozen=True, slots=True)
class Usage:
    """What is counted."""

    stored: int
    """Bytes that are there now."""
    egress: int = 0
    """Bytes that came from there since the start."""
    registry_calls: int = 0
    storage_calls: int = 0
    """Requests made to the storage itself."""
    seconds: float = 0.0
    """Since the start."""

    @property
    def requests(self) -> int:
        """Requests to the storage since the start, estimated."""
        return self.storage_calls + CALLS * self.registry_calls


@dataclass(frozen=True, slots=True)
class Costs:
    """Prices of a month, in the currency of the settings."""

    base: float
    storage: float
    egress: float
    requests: float

    @property
    def total(self) -> float:
        """All of it."""
        return self.base + self.storage + self.egress + self.requests


def monthly(usage: Usage, prices: PriceSettings) -> Costs:
    """Give what a month costs if it goes on like this."""
    months = max(usage.seconds, LEAST) / MONTH
    stored = max(0, usage.stored - prices.storage_included) / GB
    egress = max(0.0, usage.egress / months - prices.egress_included) / GB
    return Costs(
        prices.base,
        stored * prices.storage,
        egress * prices.egress,
        usage.requests / months / 1000 * prices.requests,
    )
