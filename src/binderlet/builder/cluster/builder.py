"""Builds images in builder pods of the cluster; this machine needs no container engine.

The checkout goes there through the API server, the log comes back line by line, and the image goes from there to the
registry. The build itself runs on in its pod when the connection or this process ends, and is found again.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace

import structlog

import binderlet
from binderlet.builder.base import BuildRequest, Images
from binderlet.builder.cluster.checkout import pack
from binderlet.builder.cluster.choice import CONTAINER, BuilderPod, pod_from_api, selector
from binderlet.builder.cluster.following import Following, last_seen
from binderlet.builder.cluster.messages import (
    ALIVE_EVERY,
    CANCEL,
    Built,
    Busy,
    Failed,
    Order,
    decode,
    encode_order,
    frame,
)
from binderlet.builder.cluster.pool import Pool
from binderlet.clients.kubernetes import KubernetesClient, KubernetesError, cluster_errors
from binderlet.clients.kubernetes_exec import NOT_STARTED, Execution, execute
from binderlet.config.builder_pods import BuilderPodsSettings
from binderlet.config.units import format_duration
from binderlet.errors import BinderletError, BuildFailed, BuildTimeout, EngineUnavailable
from binderlet.events.buildlog import BuildLog
from binderlet.model import Image
from binderlet.tasks import Tasks

log = structlog.get_logger(__name__)

PROGRAM = "import asyncio; from binderlet.builder.cluster import worker; asyncio.run(worker.serve())"
WORKER = ("/opt/binderlet/bin/python", "-I", "-c", PROGRAM)
HANDOVER = 20.0
"""Seconds in which the pod of a build that is gone on with may be busy: with an earlier control plane's connection,
which ends by itself, or with something short of ours."""
NO_PROGRAM = ("no such file or directory", "executable file not found", "permission denied", "exec format error")
SHELLS_CODES = {126, 127}
"""By which some container engines say the same."""
SILENCE = 6 * ALIVE_EVERY
"""Seconds without a sign of life after which a connection counts as lost."""
PAUSE = 1.0
"""Seconds before a lost connection is made anew; doubled each time, up to ``LONGEST_PAUSE``."""
LONGEST_PAUSE = 15.0
FAREWELL = 10.0
"""Seconds in which a pod is told that a build is given up."""
SPARE = 300.0
"""Seconds beside the build's own deadline: for moving its files and its image."""


class _Lost(Exception):
    """The connection to a build is gone; the build may go on."""


class _Taken(Exception):
    """The pod builds something else."""


class _Final(Exception):
    """Neither another connection nor another pod would help."""

    def __init__(self, error: BinderletError) -> None:
        super().__init__(error.message)
        self.error = error


class ClusterBuilder:
    """A ``Builder``; ``order`` has all that is the same for each build. The client is closed with it."""

    def __init__(
        self,
        client: KubernetesClient,
        settings: BuilderPodsSettings,
        order: Order,
        images: Images,
        instance: str,
        *,
        pause: float = PAUSE,
        silence: float = SILENCE,
        handover: float = HANDOVER,
    ) -> None:
        self._client = client
        self._settings = settings
        self._order = order
        self._images = images
        self._path = f"api/v1/namespaces/{settings.namespace}/pods"
        self._selector = selector(instance)
        self._pause = pause
        self._silence = silence
        self._handover = handover
        self.pool = Pool(self._pods, settings.wait)
        self._tasks = Tasks("cluster builder")
        self._bases: dict[str, str] = {}
        self._is_closing = False

    @property
    def info(self) -> dict[str, str]:
        """What ``/versions`` reports as ``builder_info``."""
        return {"builder": f"binderlet {binderlet.__version__}", "tool": "Podman in the cluster"}

    def is_outdated(self, image: Image) -> bool:
        """See ``Builder``; as far as the last build told of base images."""
        labels = image.labels
        if labels.get("binderlet.image") != "content" or "binderlet.environment" not in labels:
            return False
        base = labels.get("binderlet.base", "")
        return self._bases.get(labels.get("binderlet.python", ""), base) != base

    async def prepare(self, log: BuildLog) -> None:
        """See ``Builder``; where no pod is ready, images that exist launch all the same, so that is no error."""
        try:
            await self._result(Following(replace(self._order, verb="prepare"), None, log), "")
        except EngineUnavailable as error:
            log.write(f"Nothing can be built for now: {error.message} {error.hint}")

    async def build(self, request: BuildRequest, log: BuildLog) -> Image:
        """See ``Builder``."""
        if not request.refresh and (built := await self._images.find(request.image)) is not None:
            return built
        order = replace(
            self._order,
            commit=request.commit,
            image=request.image,
            lock=request.lock,
            refresh=request.refresh,
        )
        await log.flush()
        pod, seen = await asyncio.to_thread(last_seen, log.path)
        image = await self._result(Following(order, request.checkout, log, pod, seen), request.commit.slug)
        if image is None:
            raise BuildFailed("The builder pod ended well, but said nothing of an image.")
        await self._images.refresh()
        return image

    async def close(self) -> None:
        """See ``Builder``."""
        self._is_closing = True
        await self._tasks.close()
        await self._client.close()

    async def _result(self, job: Following, repository: str) -> Image | None:
        """Run a job in the background, and give its result as soon as it is known; the pod then tidies up."""
        result: asyncio.Future[Image | None] = asyncio.get_running_loop().create_future()
        task = self._tasks.start(self._run(job, repository, result), name=f"{job.order.verb} {job.order.image}")
        try:
            return await asyncio.shield(result)
        except asyncio.CancelledError:
            task.cancel()
            await asyncio.wait({task}, timeout=FAREWELL)
            raise

    async def _run(self, job: Following, repository: str, result: asyncio.Future[Image | None]) -> None:
        limit = self._order.settings.timeout + SPARE
        try:
            async with asyncio.timeout(limit):
                await self._try_pods(job, repository, result)
        except TimeoutError:
            words = f"The build took longer than {format_duration(limit)}, so it was given up."
            _settle(result, BuildTimeout(words))
        except _Final as final:
            _settle(result, final.error)
        except BinderletError as error:
            _settle(result, error)
        except BaseException:
            result.cancel()
            raise

    async def _try_pods(self, job: Following, repository: str, result: asyncio.Future[Image | None]) -> None:
        gone: list[str] = []
        problem, followed, until = "", job.pod, time.monotonic() + self._handover
        while len(gone) < self._settings.attempts:
            patience = until - time.monotonic() if job.pod == followed else 0.0
            turn = self.pool.turn(repository, avoid=gone, prefer=job.pod, patience=patience, tell=job.log.write)
            async with turn as pod:
                if job.pod and pod.name != job.pod and not gone:
                    job.log.write(f"{job.pod} is not there any more; beginning anew.")
                try:
                    await self._on(pod, job, result)
                except _Taken:
                    self.pool.rest(pod)
                except _Lost as error:
                    problem = str(error)
                    gone.append(pod.name)
                    job.log.write(f"The build was lost: {problem}")
                    log.warning("a build was lost", pod=pod.name, image=job.order.image, reason=problem)
                else:
                    return
        raise EngineUnavailable(
            f"The build was begun {len(gone)} times, and each time its builder pod went away: {problem}",
            hint="'kubectl describe pod' says why; most often the build needs more memory or disk than the pod has.",
        )

    async def _on(self, pod: BuilderPod, job: Following, result: asyncio.Future[Image | None]) -> None:
        """Build in a pod, connecting again as long as it is there.

        Raises:
            _Lost: the pod, or what ran in it, is gone.
            _Taken: it builds something else.
        """
        if pod.name != job.pod:
            job.begin(pod.name)
        lost_since, pause, told = 0.0, self._pause, False
        while True:
            before = job.seen
            problem = await self._connect(pod, job, result)
            if not problem:
                return
            now = time.monotonic()
            if job.seen > before or not lost_since:
                lost_since, pause = now, self._pause
            if now - lost_since > self._settings.reconnect:
                raise _Lost(problem)
            if not told:
                log.info("connection to a build lost", pod=pod.name, image=job.order.image, reason=problem)
                told = True
            await asyncio.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE)
            await self._see_it_is_there(pod, problem)

    async def _see_it_is_there(self, pod: BuilderPod, problem: str) -> None:
        with contextlib.suppress(EngineUnavailable):  # the cluster may be back in time
            found = await self.pool.find(pod.name)
            if found is None or found.uid != pod.uid or found.restarts != pod.restarts or not found.is_ready:
                raise _Lost(f"{pod.name} went away ({problem}).")

    async def _connect(self, pod: BuilderPod, job: Following, result: asyncio.Future[Image | None]) -> str:
        """Give its order to the pod and take what it says until all is done; gives why the connection was lost.

        Raises:
            _Final: the build ended badly.
            _Taken: it builds something else.
        """
        try:
            async with execute(self._client, f"{self._path}/{pod.name}", WORKER, container=CONTAINER) as running:
                try:
                    return await self._converse(running, job, result)
                except asyncio.CancelledError:
                    if not self._is_closing:
                        await _give_up(running)
                    raise
        except KubernetesError as error:
            if error.status == 404:  # noqa: PLR2004 - HTTP's own number
                raise _Lost(f"{pod.name} is gone.") from error
            if error.status < 500:  # noqa: PLR2004 - HTTP's own number
                with cluster_errors():
                    raise
            return error.message
        except (OSError, TimeoutError, EngineUnavailable) as error:
            return str(error) or type(error).__name__

    async def _converse(self, running: Execution, job: Following, result: asyncio.Future[Image | None]) -> str:
        feeding = self._tasks.start(_feed(running, job), name="checkout")
        done = False
        try:
            async for line in _lines(running, self._silence):
                match decode(line):
                    case Built(image, bases):
                        done = True
                        self._bases |= bases
                        _settle(result, image)
                    case Failed(error):
                        raise _Final(error)
                    case Busy():
                        raise _Taken
                    case message:
                        job.note(message)
        finally:
            feeding.cancel()
            await asyncio.wait({feeding})
        if job.problem is not None:
            raise _Final(job.problem)
        if done:
            return ""
        if does_not_start(running):
            words = f"The builder's program does not start in builder pod {job.pod}: {running.reason}"
            hint = "builders.image of the chart must be one that 'binderlet builder-image' of this version made."
            raise _Final(EngineUnavailable(words, hint=hint))
        if running.code is None or running.code == NOT_STARTED:
            return running.reason or "the connection was lost"
        raise _Lost(f"Its program ended with code {running.code}: {running.words or running.reason}")

    async def _pods(self) -> Sequence[BuilderPod]:
        with cluster_errors():
            found, _ = await self._client.collect(self._path, pod_from_api, params={"labelSelector": self._selector})
        return found


def does_not_start(running: Execution) -> bool:
    """Whether the node says that the program itself is what is wrong: another attempt would end the same way."""
    return running.code in SHELLS_CODES or (
        running.code == NOT_STARTED and any(words in running.reason.lower() for words in NO_PROGRAM)
    )


async def _give_up(running: Execution) -> None:
    with contextlib.suppress(EngineUnavailable, TimeoutError):
        async with asyncio.timeout(FAREWELL):
            await running.send(frame(CANCEL))
            async for _ in running.output(FAREWELL):
                pass  # until it has ended


async def _feed(running: Execution, job: Following) -> None:
    """Send the order and the checkout; a lost connection is seen by whoever reads.

    Half a checkout is not built: the connection is closed then, and ``job.problem`` says why.
    """

    async def put(piece: bytes) -> None:
        await running.send(frame(piece))

    with contextlib.suppress(EngineUnavailable):
        await put(encode_order(replace(job.order, seen=job.seen)))
        if job.checkout is not None and (problem := await pack(job.checkout, put)) is not None:
            job.problem = problem
            await running.close()
        else:
            await put(b"")


async def _lines(running: Execution, silence: float) -> AsyncIterator[bytes]:
    rest = b""
    async for data in running.output(silence):
        *lines, rest = (rest + data).split(b"\n")
        for line in lines:
            yield line


def _settle(result: asyncio.Future[Image | None], value: Image | BinderletError | None) -> None:
    if result.done():
        return
    if isinstance(value, BinderletError):
        result.set_exception(value)
        result.exception()  # nobody has to ask
    else:
        result.set_result(value)
