"""Keeps the Lease in the cluster, or waits for it."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import structlog

from binderlet.clients.kubernetes import CONFLICT, NOT_FOUND, KubernetesClient, KubernetesError, cluster_errors
from binderlet.errors import BinderletError, NotFound
from binderlet.pair.lease import Candidate, Lease, body, given_back, lease_of

log = structlog.get_logger(__name__)

GIVE_BACK_WITHIN = 5.0
"""Seconds; then the Lease is left to run out."""
TRIES = 2
"""Of one look: the second reads what somebody else wrote in between."""


def steady_clock() -> float:
    """Give seconds of a clock that nobody sets, and that also runs while the machine sleeps."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class Elector:
    """One candidate for the Lease ``name``, looked at every so many seconds by ``run``."""

    def __init__(
        self,
        client: KubernetesClient,
        candidate: Candidate,
        name: str,
        namespace: str,
        *,
        every: float,
        clock: Callable[[], float] = steady_clock,
    ) -> None:
        self._client = client
        self.candidate = candidate
        self._name = name
        self._path = f"apis/coordination.k8s.io/v1/namespaces/{namespace}/leases"
        self._every = every
        self._clock = clock
        self.looked = asyncio.Event()
        """Set at each look, for whoever waits for news."""
        self.won = asyncio.Event()
        """Set once this one leads."""

    @property
    def leads(self) -> bool:
        """Whether this one leads right now."""
        return self.candidate.leads(self._clock())

    def fence(self) -> None:
        """Let through only who leads.

        Raises:
            EngineUnavailable: this one does not.
        """
        self.candidate.check(self._clock())

    async def run(self) -> None:
        """Look again and again until cancelled."""
        while True:
            await self.look()
            await asyncio.sleep(self._every)

    async def look(self) -> None:
        """Keep the Lease, or take it where it is free; what fails is logged, and tried again at the next look."""
        try:
            # A server that takes a call and never answers must not hold back the next attempt.
            async with asyncio.timeout(self._every * 2):
                with cluster_errors():
                    await self._look()
        except TimeoutError:
            log.warning("the Lease cannot be looked at: the cluster does not answer in time")
        except BinderletError as error:
            log.warning("the Lease cannot be looked at; will try again", error=error.message, hint=error.hint)
        self.looked.set()

    async def _look(self) -> None:
        for _ in range(TRIES):
            if not self.leads:
                self.candidate.saw(await self._read(), self._clock())
            if not self.candidate.may_write(self._clock()) or await self._write():
                return
            self.candidate.saw(await self._read(), self._clock())

    async def _read(self) -> Lease | None:
        with contextlib.suppress(NotFound), cluster_errors():
            return lease_of(await self._client.call("GET", f"{self._path}/{self._name}"))
        return None

    async def _write(self) -> bool:
        """Write the Lease; False where somebody else wrote it in between, or an unanswered write of ours arrived."""
        stamp = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        sent_at = self._clock()
        wanted = body(self._name, self.candidate, sent_at, stamp)
        try:
            written = await self._send(wanted)
        except KubernetesError as error:
            if error.status not in {CONFLICT, NOT_FOUND}:
                raise
            log.debug("the Lease was not written", error=str(error))
            return False
        self.candidate.wrote(written, sent_at)
        if self.leads and not self.won.is_set():
            log.info("this control plane leads", name=self.candidate.name, before=self.candidate.before)
            self.won.set()
        return True

    async def _send(self, wanted: dict[str, Any]) -> Lease:
        path, method = self._path, "POST"
        if "resourceVersion" in wanted["metadata"]:
            path, method = f"{self._path}/{self._name}", "PUT"
        return lease_of(await self._client.call(method, path, body=wanted))

    async def until_lost(self) -> None:
        """Return once this one leads no more, by its own clock: also while the cluster does not answer."""
        while (left := self.candidate.until - self._clock()) > 0 and self.leads:  # noqa: ASYNC110 - a clock tells
            await asyncio.sleep(max(0.01, left))

    async def give_back(self) -> None:
        """Lead no more from this call on, and let another take the Lease at once, if the cluster answers."""
        led, wanted = self.leads, given_back(self.candidate)
        self.candidate.leave()
        if not led:
            return
        try:
            async with asyncio.timeout(GIVE_BACK_WITHIN):
                with cluster_errors():
                    await self._send(wanted)
        except (TimeoutError, BinderletError) as error:
            log.warning("the Lease could not be given back: another takes it when its time is up", error=str(error))
