"""Runs sessions as pods of a Kubernetes cluster.

A start is one call, then waiting for what the mirror of pods shows; ``docs/explanation/kubernetes.md`` has the why.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import replace

import structlog

from binderlet.clients.kubernetes import CONFLICT, KubernetesClient, KubernetesError, cluster_errors
from binderlet.config.kubernetes import KubernetesSettings
from binderlet.config.schema import EngineSettings
from binderlet.engine.docker_spec import last_lines
from binderlet.engine.kubernetes_agent import PORT as AGENT_PORT
from binderlet.engine.kubernetes_pods import PodMirror
from binderlet.engine.kubernetes_spec import (
    AGENT_SELECTOR,
    Pod,
    Waiting,
    agent_of,
    event_messages,
    place_in_line,
    pod_from_api,
    pod_name,
    pod_request,
    selector,
    time_limit,
    verdict,
)
from binderlet.errors import BinderletError, EngineUnavailable, Full, LaunchFailed, NotFound, SessionDied
from binderlet.model import Session, SessionSpec
from binderlet.tasks import Tasks

log = structlog.get_logger(__name__)

LOOK_EVERY = 5.0
"""Seconds after which a pod that starts is read from the API, in case the watch missed something."""
TOLD_AFTER = 2.0
"""Seconds of a start after which its steps are told: most take less."""
LAST_LINES = 20
CLOSE_TIMEOUT = 10.0
"""Seconds that starts under way may take at shutdown; what they leave is found again by list()."""
BAD_REQUEST = 400

Tell = Callable[[str, str, int], None]
"""Takes a launch's id, a line for those who watch it, and its place in the queue for room; 0 where it has none."""


class KubernetesEngine:
    """The engine port on a cluster; the client is closed with it."""

    def __init__(
        self, client: KubernetesClient, engine: EngineSettings, settings: KubernetesSettings, instance: str
    ) -> None:
        self._client = client
        self._engine = engine
        self._settings = settings
        self._instance = instance
        self._path = f"api/v1/namespaces/{client.access.namespace}/pods"
        self.mirror = PodMirror(client, self._path, selector(instance))
        self._tasks = Tasks("kubernetes engine")
        self._stopped: deque[str] = deque(maxlen=1000)
        """The last that were stopped on purpose: the cluster tells of their end like of any other."""
        self.tell: Tell = lambda _launch, _line, _place: None
        """Is told how slow starts come along."""
        self.reference: Callable[[str], str] = str
        """Gives what nodes call an image."""

    async def prepare(self) -> None:
        """Check that the cluster answers, and that it lets us read pods."""
        with cluster_errors():
            await self._client.call("GET", self._path, params={"limit": "1"})

    async def start(self, spec: SessionSpec) -> Session:
        """Make the session's pod and wait until it runs; it waits for room as long as the settings say.

        Raises:
            Full: the namespace's quota is used up, or no node had room in time.
        """
        await self.mirror.synced()
        making = self._tasks.start(self._make(spec), name=f"make {spec.id}")
        try:
            return await self._until_running(spec, making)
        except BaseException as error:
            # In the background: a second cancellation ends the wait, not the removal.
            died = error if isinstance(error, SessionDied) else None
            undoing = self._tasks.start(self._undo(spec.id, making, words=died is not None), name=f"undo {spec.id}")
            await asyncio.wait({undoing})
            if died and (lines := undoing.result()):
                raise SessionDied(f"{died.message} It said:\n{lines}") from error
            raise

    async def _make(self, spec: SessionSpec) -> BinderletError | None:
        """Create the pod; give why that failed."""
        known_as = self.reference(spec.image)
        body = pod_request(spec, self._engine, self._settings, self._instance, known_as=known_as)
        try:
            with cluster_errors():
                try:
                    self.mirror.add(pod_from_api(await self._client.call("POST", self._path, body=body)))
                except KubernetesError as error:
                    # Ids are used once: an earlier request of this very start got through, its answer did not.
                    if error.status != CONFLICT or error.reason != "AlreadyExists":
                        raise
        except BinderletError as error:
            return error
        return None

    async def _until_running(self, spec: SessionSpec, making: asyncio.Task[BinderletError | None]) -> Session:
        if (problem := await asyncio.shield(making)) is not None:
            raise problem
        name = pod_name(self._instance, spec.id)
        began, step, step_began, told = time.monotonic(), "", time.monotonic(), ""
        with self.mirror.noting(name) as changed:
            while True:
                changed.clear()
                pod = self.mirror.pods.get(name) or await self._read(name)
                now = time.monotonic()
                found = verdict(pod, now - step_began, self._settings, place_in_line(pod, self.mirror.pods.values()))
                if isinstance(found, Session):
                    return found
                if found.step != step:
                    step, step_began = found.step, now
                if now - step_began > time_limit(step, self._settings):
                    raise _overdue(found, pod)
                if now - began > TOLD_AFTER:
                    told = await self._tell_waiting(spec, pod, found, told)
                await self._wait(changed, name, LOOK_EVERY if now - began > TOLD_AFTER else TOLD_AFTER)

    async def _wait(self, changed: asyncio.Event, name: str, seconds: float) -> None:
        """Wait for news of a pod; where none come, look for it."""
        try:
            async with asyncio.timeout(seconds):
                await changed.wait()
        except TimeoutError:
            with contextlib.suppress(EngineUnavailable):  # the mirror tries again, and the limits of time count
                self.mirror.correct(await self._read(name))

    async def _read(self, name: str) -> Pod:
        pod = None
        with contextlib.suppress(NotFound), cluster_errors():
            pod = pod_from_api(await self._client.call("GET", f"{self._path}/{name}"))
        if pod is None:
            raise SessionDied("The session's pod was deleted while it started.")
        return pod

    async def _tell_waiting(self, spec: SessionSpec, pod: Pod, waiting: Waiting, told: str) -> str:
        """Tell what is new about a start that takes long; give what was told."""
        lines = [waiting.text]
        if waiting.step == "start":
            lines += await self._events(pod.name)
        if lines[-1] != told:
            self.tell(spec.launch_id, lines[-1], waiting.place)
        return lines[-1]

    async def _events(self, name: str) -> list[str]:
        path = self._path.removesuffix("pods") + "events"
        selected = {"fieldSelector": f"involvedObject.kind=Pod,involvedObject.name={name}"}
        try:
            with cluster_errors():
                return event_messages((await self._client.call("GET", path, params=selected)).get("items") or ())
        except BinderletError as error:
            log.debug("events of a pod cannot be read", pod=name, error=error.message)
            return []

    async def _undo(self, session_id: str, making: asyncio.Task[BinderletError | None], *, words: bool) -> str:
        """Remove what a failed start made, once it surely has been made or not; give its last words."""
        await making
        lines = await self._words(session_id) if words else ""
        try:
            await self._delete(session_id)
        except BinderletError as error:
            # The caller gets the error that made us undo; what stays is found again by list().
            log.warning("a failed start left its pod", session=session_id, error=error.message)
        return lines

    async def _words(self, session_id: str) -> str:
        try:
            return await self.logs(session_id, LAST_LINES)
        except BinderletError as error:
            log.debug("a session's last lines cannot be read", session=session_id, error=error.message)
            return ""

    async def stop(self, session_id: str) -> None:
        """Delete the session's pod at once, without waiting for its node: sessions hold nothing to save."""
        self._stopped.append(session_id)
        await self._delete(session_id)

    async def _delete(self, session_id: str) -> None:
        path = f"{self._path}/{pod_name(self._instance, session_id)}"
        with contextlib.suppress(NotFound), cluster_errors():
            await self._client.call("DELETE", path, params={"gracePeriodSeconds": "0"})

    async def list(self) -> Sequence[Session]:
        """Read all sessions from the API, page by page."""
        with cluster_errors():
            pods, _ = await self._client.collect(
                self._path, pod_from_api, params={"labelSelector": selector(self._instance)}
            )
        return [pod.session for pod in pods]

    def watch(self) -> AsyncIterator[Session]:
        """Yield each session as it ends."""
        return self._watch(self.mirror.endings())

    async def _watch(self, endings: AsyncIterator[Session]) -> AsyncIterator[Session]:
        async for session in endings:
            stopped = session.id in self._stopped
            yield replace(session, ended_because="it was stopped") if stopped else session

    async def logs(self, session_id: str, lines: int = 50) -> str:
        """Read the last lines that the session printed."""
        path = f"{self._path}/{pod_name(self._instance, session_id)}/log"
        with cluster_errors():
            try:
                answer = await self._client.read(path, params={"tailLines": str(lines), "limitBytes": str(2**20)})
            except KubernetesError as error:
                # Unknown, or it has printed nothing, as it does not run yet.
                if error.status in {404, BAD_REQUEST}:
                    return ""
                raise
        return last_lines(answer.decode("utf-8", "replace"), lines)

    def node_of(self, session_id: str) -> str:
        """Give the node that a session runs on, from memory; empty where that is not known."""
        pod = self.mirror.pods.get(pod_name(self._instance, session_id))
        return pod.node if pod is not None else ""

    async def agents(self) -> Mapping[str, str]:
        """Give the addresses of the nodes' helpers, by node.

        Raises:
            EngineUnavailable: the cluster does not answer, or does not let us look.
        """
        path = f"api/v1/namespaces/{self._settings.agents_namespace}/pods"
        with cluster_errors():
            found, _ = await self._client.collect(path, agent_of, params={"labelSelector": AGENT_SELECTOR})
        return {node: f"{address}:{AGENT_PORT}" for node, address in found}

    def guard(self, check: Callable[[], None]) -> None:
        """Have ``check`` asked before each change of the cluster; what it raises, the change's caller gets."""
        self._client.guard = check

    async def ping(self) -> str:
        """Ask the cluster for its version."""
        return f"Kubernetes {await self._client.version()}"

    async def close(self) -> None:
        """Wait until starts that were given up have left no traces, then close the client."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_TIMEOUT):
                while len(self._tasks):  # noqa: ASYNC110 - once, at the end
                    await asyncio.sleep(0.01)
        await self._tasks.close()
        await self.mirror.close()
        await self._client.close()


def _overdue(waiting: Waiting, pod: Pod) -> BinderletError:
    if waiting.step == "room":
        return Full(
            f"The cluster had no room for the session in time: {pod.unschedulable}.",
            hint="Try again in a few minutes; operators can add nodes, or lower kubernetes.memory_request.",
            retry_after=60,
        )
    return LaunchFailed(
        f"The session's pod did not start in time: {waiting.text}",
        hint="'kubectl describe pod' and its node's state show why; kubernetes.pull_timeout is the limit.",
    )
