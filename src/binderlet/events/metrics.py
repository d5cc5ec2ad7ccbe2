"""Metrics in Prometheus' text format: BinderHub's names where it has them, ``binderlet_`` for the rest.

``docs/reference/metrics.md`` lists all of them.
"""

from __future__ import annotations

import resource
import time
from collections.abc import Callable, Mapping
from functools import singledispatchmethod

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from binderlet.events.kinds import (
    BuildEnded,
    BuildStarted,
    Fact,
    LaunchEnded,
    LaunchStarted,
    SessionEnded,
    SessionStarted,
)
from binderlet.model import ServiceStatus

INF = float("inf")
BUILD_BUCKETS = (60, 120, 300, 600, 1800, 3600, 7200, INF)
LAUNCH_BUCKETS = (2, 5, 10, 20, 30, 60, 120, 300, 600, INF)
FAST_BUCKETS = (0.05, 0.1, 0.2, 0.5, 1, 1.5, 2, 3, 5, 10, 20, 60, 300, INF)
HTTP_BUCKETS = (0.001, 0.005, 0.02, 0.1, 0.5, 2, 10, INF)
REPOSITORIES = 1000
"""Distinct ``repo`` labels; repositories seen later count as ``other``, so that memory stays bounded."""
KEEP = 1.0
"""Seconds that a rendered page is served again."""


class Metrics:
    """Counts what happens; ``listen`` goes on the bus.

    ``status`` is asked when a page is rendered; ``provider_names`` gives a provider's id the name that BinderHub's
    metrics have, such as ``GitHub``.
    """

    def __init__(
        self,
        status: Callable[[], ServiceStatus],
        *,
        version: str = "",
        provider_names: Mapping[str, str] | None = None,
        repositories: int = REPOSITORIES,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.registry = CollectorRegistry()
        self._status = status
        self._provider_names = dict(provider_names or {})
        self._repositories = repositories
        self._clock = clock
        self._repos: set[str] = set()
        self._launching: set[str] = set()
        self._building: set[str] = set()
        self._page = b""
        self._page_until = -INF
        self._github: Gauge | None = None
        self._add_binderhub()
        self._add_events()
        self._add_state()
        self._gauge("info", "Always 1; the label is the version that runs.", "version").labels(version).set(1)

    def _counter(self, name: str, documentation: str, *labels: str) -> Counter:
        return Counter(f"binderlet_{name}", documentation, labels, registry=self.registry)

    def _gauge(self, name: str, documentation: str, *labels: str) -> Gauge:
        return Gauge(f"binderlet_{name}", documentation, labels, registry=self.registry)

    def _histogram(self, name: str, documentation: str, buckets: tuple[float, ...], *labels: str) -> Histogram:
        return Histogram(name, documentation, labels, buckets=buckets, registry=self.registry)

    def _add_binderhub(self) -> None:
        repo_labels = ("status", "provider", "repo")
        self._build_time = self._histogram(
            "binderhub_build_time_seconds", "Time an image build took.", BUILD_BUCKETS, "status"
        )
        self._launch_time = self._histogram(
            "binderhub_launch_time_seconds",
            "Time from an image at hand to a session that answers.",
            LAUNCH_BUCKETS,
            "status",
            "retries",
        )
        self._builds = Counter("binderhub_build_count", "Builds that ended.", repo_labels, registry=self.registry)
        self._launches = Counter(
            "binderhub_launch_count", "Launches that had an image and ended.", repo_labels, registry=self.registry
        )
        self._builds_now = Gauge("binderhub_inprogress_builds", "Builds that run.", registry=self.registry)
        self._launches_now = Gauge("binderhub_inprogress_launches", "Launches that go on.", registry=self.registry)

    def _add_events(self) -> None:
        self._launch_seconds = self._histogram(
            "binderlet_launch_seconds",
            "Time from a visitor's request to the end of the launch.",
            FAST_BUCKETS,
            "status",
            "built",
        )
        self._step_seconds = self._histogram(
            "binderlet_launch_step_seconds", "Time a launch spent in one step.", FAST_BUCKETS, "step"
        )
        self._session_start = self._histogram(
            "binderlet_session_start_seconds", "Time from starting a session to its first answer.", FAST_BUCKETS
        )
        self._failures = self._counter("launch_failures", "Launches that did not succeed, by error code.", "code")
        self._adopted = self._counter("standbys_adopted", "Launches that adopted a session started ahead.")
        self._ended = self._counter("sessions_ended", "Sessions that ended, by reason.", "reason")
        self._http = self._histogram(
            "binderlet_http_request_seconds", "Time to answer an HTTP request.", HTTP_BUCKETS, "route", "status"
        )
        self._archive_published = self._gauge(
            "archive_published_timestamp_seconds", "When the launch archive was published; 0 for never."
        )
        self._archive_behind = self._gauge(
            "archive_behind_seconds", "For how long publishing the launch archive has failed."
        )
        self._dropped = self._gauge("facts_dropped", "Facts that could not be recorded, by record.", "record")

    def _add_state(self) -> None:
        self._sessions = self._gauge("sessions", "Sessions that run or start.")
        self._standbys = self._gauge("standbys", "Sessions started ahead that wait for a launch.")
        self._session_limit = self._gauge("session_limit", "Sessions that may run at once.")
        self._launches_waiting = self._gauge("launches_waiting", "Launches in the queue for a place.")
        self._builds_waiting = self._gauge("builds_waiting", "Builds in the queue.")
        self._draining = self._gauge("draining", "1 while new launches are refused because the service stops.")
        self._check = self._gauge("check_ok", "1 for each part of the service that answers, else 0.", "service")
        self._started = self._gauge("start_time_seconds", "When the service started, in seconds since the epoch.")
        self._cpu = self._gauge("cpu_seconds", "CPU time that the control plane has used.")

    def listen(self, fact: Fact) -> None:
        """Count a fact."""
        self._count(fact)

    def observe_http(self, route: str, status: int, seconds: float) -> None:
        """Count one answer; ``route`` is the route's pattern, never the URL."""
        self._http.labels(route, str(status)).observe(seconds)

    def set_dropped(self, record: str, number: int) -> None:
        """Say how many facts a record could not keep."""
        self._dropped.labels(record).set(number)

    def set_archive(self, published_at: float, behind: float) -> None:
        """Say when the launch archive was published, in seconds since the epoch, and for how long that has failed."""
        self._archive_published.set(published_at)
        self._archive_behind.set(behind)

    def set_github_rate_limit(self, remaining: int) -> None:
        """Say how many requests to GitHub's API are left in its window."""
        if self._github is None:
            name = "binderhub_github_rate_limit_remaining"
            self._github = Gauge(name, "Requests left to GitHub's API.", registry=self.registry)
        self._github.set(remaining)

    def include(self, name: str, documentation: str, read: Callable[[], float]) -> None:
        """Add a gauge that another part knows; read at each rendering, from memory."""
        self._gauge(name, documentation).set_function(read)

    def render(self) -> bytes:
        """Give all metrics in the text format, at most a second old."""
        now = self._clock()
        if now >= self._page_until:
            self._read_status()
            self._page = generate_latest(self.registry)
            self._page_until = now + KEEP
        return self._page

    def _read_status(self) -> None:
        status = self._status()
        self._sessions.set(status.sessions)
        self._standbys.set(status.standbys)
        self._session_limit.set(status.session_limit)
        self._launches_waiting.set(status.launches_waiting)
        self._builds_waiting.set(status.builds_waiting)
        self._draining.set(status.draining)
        self._started.set(status.started_at)
        for check in status.checks:
            self._check.labels(check.service).set(check.ok)
        used = resource.getrusage(resource.RUSAGE_SELF)
        self._cpu.set(used.ru_utime + used.ru_stime)

    def _repo(self, url: str) -> str:
        if url not in self._repos:
            if len(self._repos) >= self._repositories:
                return "other"
            self._repos.add(url)
        return url

    @singledispatchmethod
    def _count(self, fact: Fact) -> None:
        raise TypeError(f"no metric for {type(fact).__name__}")

    @_count.register
    def _(self, fact: LaunchStarted) -> None:
        self._launching.add(fact.launch_id)
        self._launches_now.set(len(self._launching))

    @_count.register
    def _(self, fact: LaunchEnded) -> None:
        self._launching.discard(fact.launch_id)
        self._launches_now.set(len(self._launching))
        self._launch_seconds.labels(fact.status, str(fact.built).lower()).observe(fact.at - fact.started_at)
        for step, seconds in fact.phase_seconds.items():
            self._step_seconds.labels(step).observe(seconds)
        if fact.status != "success":
            self._failures.labels(fact.code or fact.status).inc()
        self._count_as_binderhub(fact)

    def _count_as_binderhub(self, fact: LaunchEnded) -> None:
        """Count a launch that had an image: BinderHub counts the others as failed builds, or not at all."""
        refused = fact.status.endswith("_quota")
        tried = fact.status == "success" or "start" in fact.phase_seconds
        if fact.commit is None or fact.build_only or not (refused or tried):
            return
        self._launches.labels(fact.status, fact.provider_name, self._repo(fact.commit.repo_url)).inc()
        if tried:
            seconds = fact.phase_seconds.get("start", 0.0) + fact.phase_seconds.get("route", 0.0)
            retries = 0 if fact.status == "success" else -1
            self._launch_time.labels(fact.status, str(retries)).observe(seconds)

    @_count.register
    def _(self, fact: BuildStarted) -> None:
        self._building.add(fact.build_id)
        self._builds_now.set(len(self._building))

    @_count.register
    def _(self, fact: BuildEnded) -> None:
        self._building.discard(fact.build_id)
        self._builds_now.set(len(self._building))
        provider = self._provider_names.get(fact.commit.provider, fact.commit.provider)
        self._builds.labels(fact.status, provider, self._repo(fact.commit.repo_url)).inc()
        self._build_time.labels(fact.status).observe(fact.at - fact.started_at)

    @_count.register
    def _(self, fact: SessionStarted) -> None:
        self._session_start.observe(max(fact.at - fact.session.created_at, 0.0))
        if fact.session.standby:
            self._adopted.inc()

    @_count.register
    def _(self, fact: SessionEnded) -> None:
        self._ended.labels(fact.reason).inc()
