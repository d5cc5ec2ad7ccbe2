"""What is kept in the bucket, and what that costs."""

from __future__ import annotations

from pydantic import Field

from binderlet.config.section import Section
from binderlet.config.units import ByteSize, Duration


class PriceSettings(Section):
    """What the storage costs, in one currency; docs/how-to/costs.md has the prices of some providers."""

    currency: str = Field("EUR", max_length=3, description="What the prices are in.")
    base: float = Field(0.0, ge=0, description="Price of a month, whatever is used.")
    storage: float = Field(0.0, ge=0, description="Price of a GB (10^9 bytes) for a month.")
    storage_included: ByteSize = Field(0, ge=0, description="Bytes that the base price includes.")
    egress: float = Field(0.0, ge=0, description="Price of a GB (10^9 bytes) that leaves the storage.")
    egress_included: ByteSize = Field(0, ge=0, description="Bytes a month that the base price includes.")
    requests: float = Field(0.0, ge=0, description="Price of a thousand requests.")


class BucketSettings(Section):
    """Looking after the bucket of registry.s3."""

    budget: ByteSize = Field(
        0,
        ge=0,
        description="Bytes of images that the bucket may hold; beyond, the least valuable ones that are not on this "
        "machine go. 0: no limit.",
    )
    sweep: bool = Field(default=True, description="Whether layers that no image has are removed.")
    every: Duration = Field(86400.0, gt=0, description="How often it is looked at.")
    grace: Duration = Field(
        86400.0, gt=0, description="What is younger than this stays: a push may be about to need it."
    )
    settle: Duration = Field(
        3600.0, gt=0, description="How long a layer that no image has is hidden before it is removed."
    )
    prices: PriceSettings = PriceSettings()
