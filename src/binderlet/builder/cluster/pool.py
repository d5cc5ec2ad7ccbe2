"""The builder pods of one service, and whose turn is on which of them: one build on each."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Sequence
from contextlib import asynccontextmanager

from binderlet.builder.cluster.choice import BuilderPod, choose
from binderlet.errors import EngineUnavailable

LOOK_EVERY = 2.0
"""Seconds between looks at the pods while a build waits for one."""
RESTS = 5.0
"""Seconds in which a pod that said it is busy is not asked again."""
HINT = "'kubectl get pods' in builder_pods.namespace shows them; the chart's builders.enabled makes them."


class Pool:
    """Gives out pods; ``pods`` reads them from the cluster, or raises ``EngineUnavailable``."""

    def __init__(
        self,
        pods: Callable[[], Awaitable[Sequence[BuilderPod]]],
        wait: float,
        *,
        clock: Callable[[], float] = time.monotonic,
        look_every: float = LOOK_EVERY,
    ) -> None:
        self._pods = pods
        self._wait = wait
        self._clock = clock
        self._look_every = look_every
        self._ours: set[str] = set()
        self._rest: dict[str, float] = {}
        self._freed = asyncio.Event()

    @property
    def busy(self) -> Collection[str]:
        """The names of pods that build something for us, or said a moment ago that they do for others."""
        now = self._clock()
        return self._ours | {name for name, until in self._rest.items() if until > now}

    def rest(self, pod: BuilderPod) -> None:
        """Leave a pod alone for a moment: it said that it is busy."""
        self._rest[pod.name] = self._clock() + RESTS

    async def find(self, name: str) -> BuilderPod | None:
        """Give a pod as it is now; None where it is gone.

        Raises:
            EngineUnavailable: the cluster does not answer.
        """
        return next((pod for pod in await self._pods() if pod.name == name), None)

    @asynccontextmanager
    async def turn(
        self,
        repository: str,
        *,
        avoid: Collection[str] = (),
        prefer: str = "",
        patience: float = 0.0,
        tell: Callable[[str], None],
    ) -> AsyncIterator[BuilderPod]:
        """Give the repository's pod, once it is free, for as long as the context lasts.

        The one to ``prefer`` is waited for while it is there and busy, up to ``patience`` seconds.

        Raises:
            EngineUnavailable: none was ready for too long, or the cluster did not answer.
        """
        pod = await self._take(repository, avoid, prefer, patience, tell)
        try:
            yield pod
        finally:
            self._ours.discard(pod.name)
            self._freed.set()

    async def _take(
        self, repository: str, avoid: Collection[str], prefer: str, patience: float, tell: Callable[[str], None]
    ) -> BuilderPod:
        since, told = self._clock(), False
        until = since + patience
        while True:
            self._freed.clear()
            problem, pods = await self._look()
            pod = choose(pods, repository, busy=self.busy, avoid=avoid, prefer=prefer)
            is_held = self._clock() < until and any(
                one.name == prefer and one.is_ready and one.name not in avoid for one in pods
            )
            if pod is not None and (pod.name == prefer or not is_held):
                self._ours.add(pod.name)
                return pod
            now = self._clock()
            if any(one.is_ready and one.name not in avoid for one in pods):
                since = now
            elif now - since >= self._wait:
                raise problem or EngineUnavailable("No builder pod of the cluster is ready.", hint=HINT)
            if not told and not is_held:
                tell("Waiting for a builder pod...")
                told = True
            try:
                async with asyncio.timeout(self._look_every):
                    await self._freed.wait()
            except TimeoutError:
                continue

    async def _look(self) -> tuple[EngineUnavailable | None, Sequence[BuilderPod]]:
        try:
            return None, await self._pods()
        except EngineUnavailable as error:
            return error, ()
