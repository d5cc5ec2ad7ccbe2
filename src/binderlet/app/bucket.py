"""Who looks after the bucket of a running service, and what it costs."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import structlog
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from binderlet.app.tier import Tier
from binderlet.clients.s3 import S3Bucket
from binderlet.config import Settings
from binderlet.images.bucket import BucketKeeper
from binderlet.images.bucket_budget import bucket_items, over_budget, reason_to_keep
from binderlet.images.costs import Costs, Usage, monthly
from binderlet.images.retention import Rules
from binderlet.images.sweep import Contents, Place

log = structlog.get_logger(__name__)


async def nothing() -> Collection[str]:
    """Give no names."""
    return ()


class BucketCare(Collector):
    """Keeps the bucket of ``registry.s3`` clean, and counts; ``run`` is its loop."""

    def __init__(
        self,
        settings: Settings,
        tier: Tier,
        state: Path,
        ca_bundle: Path | None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        s3 = settings.registry.s3
        self._settings = settings.bucket
        self._tier = tier
        self._bucket = S3Bucket(s3, ca_bundle=ca_bundle)
        self._clock = clock
        self._started_at = clock()
        self.keeper = BucketKeeper(
            self._bucket, s3.folder, settings.bucket, state / "registry" / "bucket.json", retire=self.retire
        )
        self.here: Callable[[], Awaitable[Collection[str]]] = nothing
        """Gives the names of the images on this machine."""
        self.claimed: Callable[[], Mapping[str, str]] = dict
        """Gives names of images that must stay, each with why."""
        self.pin_of: Callable[[str], str] = lambda _name: ""
        """Says which pin keeps an image of that name."""
        self._ours = (settings.builder.image_prefix, "binderlet/env:")
        self._rules = Rules(half_life=settings.disk.half_life, min_age=settings.disk.min_age)

    async def run(self) -> None:
        """Look after it until cancelled."""
        await self.keeper.run()

    async def retire(
        self, contents: Contents, needed: Mapping[Place, Sequence[str]], tagged: Mapping[str, str]
    ) -> None:
        """Remove images from the bucket until it holds its budget.

        Raises:
            BinderletError: the registry does not answer.
        """
        registry, record, now = self._tier.registry, self._tier.record, self._clock()
        if registry is None:
            return
        here, claimed = await self.here(), self.claimed()

        def keep(name: str) -> str:
            return reason_to_keep(name, self._ours, here, claimed, self.pin_of(name))

        items = bucket_items(contents, needed, tagged, record.get, keep, now=now)
        for step in over_budget(items, contents.size, self._settings.budget, self._rules, now):
            for item in step.items:
                await registry.delete(item.name)
                record.forget(item.name)
                log.info("removed from the bucket", image=item.name, frees=step.frees, why=step.why)

    def usage(self) -> Usage:
        """Give what was counted, from memory."""
        upstream = self._tier.upstream
        return Usage(
            self.keeper.sums.size,
            egress=upstream.received if upstream else 0,
            registry_calls=upstream.client.requests if upstream else 0,
            storage_calls=self._bucket.requests,
            seconds=self._clock() - self._started_at,
        )

    def costs(self) -> Costs:
        """Give what a month costs if it goes on like this."""
        return monthly(self.usage(), self._settings.prices)

    def body(self) -> dict[str, Any]:
        """Give the sums for the status page, from memory."""
        usage, costs, sums = self.usage(), self.costs(), self.keeper.sums
        return {
            "used": sums.size if sums.at else None,
            "freed": sums.freed,
            "egress": usage.egress,
            "requests": usage.requests,
            "problem": sums.problem,
            "currency": self._settings.prices.currency,
            "month": {
                "base": round(costs.base, 2),
                "storage": round(costs.storage, 2),
                "egress": round(costs.egress, 2),
                "requests": round(costs.requests, 2),
                "total": round(costs.total, 2),
            },
        }

    def collect(self) -> Iterable[Metric]:
        """Give the sums as metrics, from memory."""
        usage, costs = self.usage(), self.costs()
        yield GaugeMetricFamily("binderlet_bucket_bytes", "Bytes of images in the bucket.", usage.stored)
        yield CounterMetricFamily("binderlet_bucket_egress_bytes", "Bytes read from the bucket.", usage.egress)
        yield CounterMetricFamily("binderlet_bucket_requests", "Requests to the storage, estimated.", usage.requests)
        yield CounterMetricFamily("binderlet_bucket_freed_bytes", "Garbage removed.", self.keeper.sums.freed)
        price = GaugeMetricFamily("binderlet_bucket_month_cost", "Price of a month.", labels=["part", "currency"])
        for part in ("base", "storage", "egress", "requests"):
            price.add_metric([part, self._settings.prices.currency], getattr(costs, part))
        yield price


def care_for(settings: Settings, tier: Tier | None, state: Path, ca_bundle: Path | None) -> BucketCare | None:
    """Give who looks after the bucket; None where there is none, or nobody should."""
    if tier is None or not settings.registry.s3.endpoint or not settings.bucket.sweep:
        return None
    return BucketCare(settings, tier, state, ca_bundle)
