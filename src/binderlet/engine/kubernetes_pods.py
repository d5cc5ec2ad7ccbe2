"""A mirror of this instance's pods in memory, kept true by one watch for everybody.

A list gives what there is, a watch what changes after it. A watch that ends goes on from the last version seen; one
whose version is too old, or that broke, begins with a new list, whose differences are told like any other change.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import structlog

from binderlet.clients.kubernetes import GONE, KubernetesClient, KubernetesError, cluster_errors
from binderlet.engine.kubernetes_spec import Pod, pod_from_api
from binderlet.errors import BinderletError, EngineUnavailable
from binderlet.model import Session, SessionState
from binderlet.tasks import Tasks

log = structlog.get_logger(__name__)

FIRST_PAUSE = 0.25
LONGEST_PAUSE = 8.0
"""Seconds between attempts to reach the API server, a random part of them less."""
SHORTEST_WATCH = 1.0
"""Seconds that a watch takes at least, lest a server that ends each at once be asked without end."""


def pause(failures: int) -> float:
    """Give the seconds until the next attempt after so many failed ones; a random part spreads many clients."""
    return min(FIRST_PAUSE * 2.0 ** (failures - 1), LONGEST_PAUSE) * random.uniform(0.5, 1)  # noqa: S311 - no secret


class PodMirror:
    """Follows the pods of ``selector`` from the first time that somebody asks, until ``close``."""

    def __init__(self, client: KubernetesClient, path: str, selector: str) -> None:
        self._client = client
        self._path = path
        self._params = {"labelSelector": selector}
        self._tasks = Tasks("pod mirror")
        self._following: asyncio.Task[None] | None = None
        self._pods: dict[str, Pod] = {}
        self.version = ""
        """Resource version up to which everything was seen; empty while all must be read."""
        self._outcome: asyncio.Future[EngineUnavailable | None] = asyncio.get_running_loop().create_future()
        """Of the present attempt: None once the mirror is true."""
        self._watches: set[asyncio.Queue[Session | EngineUnavailable]] = set()
        self._waiters: dict[str, set[asyncio.Event]] = {}
        self.lists = 0
        """How often all pods were read."""
        self.any_change = asyncio.Event()
        """Set at each change of any pod."""

    @property
    def pods(self) -> Mapping[str, Pod]:
        """What there is, by name, as far as is known."""
        return self._pods

    async def synced(self) -> None:
        """Wait until the mirror shows what is.

        Raises:
            EngineUnavailable: the cluster does not answer.
        """
        self._follow()
        if (error := await asyncio.shield(self._outcome)) is not None:
            raise error

    @contextmanager
    def noting(self, name: str) -> Iterator[asyncio.Event]:
        """Give an event that is set at each change of one pod."""
        event = asyncio.Event()
        waiters = self._waiters.setdefault(name, set())
        waiters.add(event)
        try:
            yield event
        finally:
            waiters.discard(event)
            if not waiters:
                self._waiters.pop(name, None)

    def add(self, pod: Pod | None) -> None:
        """Take in a pod that was made just now, unless the watch was faster."""
        if pod is not None:
            self._pods.setdefault(pod.name, pod)

    def correct(self, pod: Pod) -> None:
        """Take in a pod that was read by itself: of two sights of one pod, an end is the later."""
        before = self._pods.get(pod.name)
        if before is None or before.session.state is not SessionState.ENDED:
            self._pods[pod.name] = pod
            self._changed(pod.name, before, pod)

    def endings(self) -> AsyncIterator[Session]:
        """Yield each session that ends from this call on; raises ``EngineUnavailable`` when the watch is lost."""
        queue: asyncio.Queue[Session | EngineUnavailable] = asyncio.Queue()
        self._watches.add(queue)
        self._follow()
        return self._endings(queue)

    async def _endings(self, queue: asyncio.Queue[Session | EngineUnavailable]) -> AsyncIterator[Session]:
        try:
            while True:
                happened = await queue.get()
                if isinstance(happened, EngineUnavailable):
                    raise happened
                yield happened
        finally:
            self._watches.discard(queue)

    def _follow(self) -> None:
        if self._following is None:
            self._following = self._tasks.start(self._run(), name="follow pods")

    async def _run(self) -> None:
        failures = 0
        while True:
            try:
                with cluster_errors():
                    if not self.version:
                        await self._list()
                    await self._watch()
                failures = 0
            except BinderletError as error:
                self._lost(error)
                failures += 1
            except Exception:
                log.exception("following pods broke; will try again")
                self._lost(EngineUnavailable("The cluster's pods cannot be followed."))
                failures += 1
            if failures:
                await asyncio.sleep(pause(failures))

    async def _list(self) -> None:
        pods, version = await self._client.collect(self._path, pod_from_api, params=self._params)
        self.lists += 1
        # What had ended before anybody watched is in the list that whoever watches reads.
        first = self.lists == 1
        before, self._pods = self._pods, {pod.name: pod for pod in pods}
        for name in before.keys() | self._pods.keys():
            self._changed(name, before.get(name), self._pods.get(name), quiet=first)
        self.version = version
        if not self._outcome.done():
            self._outcome.set_result(None)

    async def _watch(self) -> None:
        began = time.monotonic()
        try:
            async for event in self._client.watch(self._path, params=self._params, since=self.version):
                self._take(event)
        except KubernetesError as error:
            self.version = ""
            if error.status != GONE:
                raise
            log.debug("the watch was too old; pods are listed again")
        except BaseException:
            self.version = ""
            raise
        if (left := SHORTEST_WATCH - (time.monotonic() - began)) > 0:
            await asyncio.sleep(left)

    def _take(self, event: Mapping[str, Any]) -> None:
        item = event["object"]
        self.version = str(item["metadata"].get("resourceVersion") or self.version)
        if event["type"] == "BOOKMARK" or (pod := pod_from_api(item)) is None:
            return
        before = self._pods.get(pod.name)
        if event["type"] == "DELETED":
            self._pods.pop(pod.name, None)
            self._changed(pod.name, before or pod, None)
        else:
            self._pods[pod.name] = pod
            self._changed(pod.name, before, pod)

    def _changed(self, name: str, before: Pod | None, now: Pod | None, *, quiet: bool = False) -> None:
        self.any_change.set()
        for waiter in self._waiters.get(name, ()):
            waiter.set()
        if quiet or (before is not None and before.session.state is SessionState.ENDED):
            return
        if now is not None and now.session.state is SessionState.ENDED:
            self._tell(now.session)
        elif now is None and before is not None:
            gone = replace(before.session, state=SessionState.ENDED, address="", ended_because="its pod was deleted")
            self._tell(gone)

    def _tell(self, session: Session) -> None:
        for watch in self._watches:
            watch.put_nowait(session)

    def _lost(self, error: BinderletError) -> None:
        lost = error if isinstance(error, EngineUnavailable) else EngineUnavailable(error.message, hint=error.hint)
        log.debug("the cluster cannot be watched; will try again", error=lost.message)
        for watch in self._watches:
            watch.put_nowait(lost)
        if not self._outcome.done():
            self._outcome.set_result(lost)
        self._outcome = asyncio.get_running_loop().create_future()

    async def close(self) -> None:
        """Follow no more. Idempotent."""
        await self._tasks.close()
        if not self._outcome.done():
            self._outcome.set_result(EngineUnavailable("The engine was closed."))
