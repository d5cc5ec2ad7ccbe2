"""The federation in Prometheus' format; the names of mybinder.org's redirector are kept."""

from __future__ import annotations

from collections.abc import Iterable

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import generate_latest
from prometheus_client.registry import Collector, CollectorRegistry

from binderlet.federation.redirector import Redirector
from binderlet.federation.standing import Standing

CONTENT_TYPE = "text/plain; version=1.0.0; charset=utf-8"


class Metrics(Collector):
    """Reads the redirector when it is asked."""

    def __init__(self, redirector: Redirector) -> None:
        self._redirector = redirector
        self._registry = CollectorRegistry()
        self._registry.register(self)

    def render(self) -> bytes:
        """Give the text."""
        return generate_latest(self._registry)

    def collect(self) -> Iterable[Metric]:
        """Give every metric as it is now."""
        redirector = self._redirector
        standings = {name: redirector.standings.get(name, Standing()) for name in redirector.federation.members}
        health = GaugeMetricFamily(
            "federation_health",
            "1 where a member may get launches, 0 and the reason where not.",
            labels=["member", "reason"],
        )
        weight = GaugeMetricFamily(
            "binderlet_federation_weight", "A member's weight now, after all that lessens it.", labels=["member"]
        )
        for one in redirector.shares:
            health.add_metric([one.name, "" if one.weight else one.reason], float(one.weight > 0))
            weight.add_metric([one.name], one.weight)
        checks = GaugeMetricFamily(
            "federation_health_check", "1 where a part of a member is well.", labels=["member", "check"]
        )
        free = GaugeMetricFamily("binderlet_federation_free", "Places that a member has free.", labels=["member"])
        for name, standing in standings.items():
            for check, ok in sorted(standing.report.checks.items()):
                checks.add_metric([name, check], float(ok))
            if standing.report.room:
                free.add_metric([name], standing.report.room.free)
        yield from (health, weight, checks, free, self._redirects())

    def _redirects(self) -> Metric:
        counter = CounterMetricFamily(
            "federation_redirect_count", "Launches sent to a member, by why it was it.", labels=["member", "reason"]
        )
        for (name, reason), count in sorted(self._redirector.counts.items()):
            counter.add_metric([name, reason], count)
        return counter
