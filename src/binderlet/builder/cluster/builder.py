"""Builds images in builder pods of the cluster; this machine needs no container engine.

The checkout goes there through the API server, the log comes back line by line, and the image goes from there to the
registry. The build itself runs on in its pod when the connection or this process ends, and is found again.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import structlog

import binderlet
from binderlet.builder.base import BuildRequest, Images
from binderlet.builder.cluster.choice import CONTAINER, BuilderPod, pod_from_api, selector
from binderlet.builder.cluster.messages import (
    ALIVE_EVERY,
    CANCEL,
    PIECE,
    Built,
    Busy,
    Failed,
    Line,
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
MARK = "Building in the cluster, in "
"""Begins the line of the log after which all lines are those of one pod."""
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


@dataclass(slots=True)
class _Job:
    """One build, wherever it is."""

    order: Order
    checkout: Path | None
    log: BuildLog
    pod: str = ""
    """Name of the pod whose lines come last in the log."""
    seen: int = 0
    """How many of its lines are there."""
    restarts: int | None = None
    """Of that pod's container when we last began something there."""


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
            await self._result(_Job(replace(self._order, verb="prepare"), None, log), "")
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
        image = await self._result(_Job(order, request.checkout, log, pod, seen), request.commit.slug)
        if image is None:
            raise BuildFailed("The builder pod ended well, but said nothing of an image.")
        await self._images.refresh()
        return image

    async def close(self) -> None:
        """See ``Builder``."""
        self._is_closing = True
        await self._tasks.close()
        await self._client.close()

    async def _result(self, job: _Job, repository: str) -> Image | None:
        """Run a job in the background, and give its result as soon as it is known; the pod then tidies up."""
        result: asyncio.Future[Image | None] = asyncio.get_running_loop().create_future()
        task = self._tasks.start(self._run(job, repository, result), name=f"{job.order.verb} {job.order.image}")
        try:
            return await asyncio.shield(result)
        except asyncio.CancelledError:
            task.cancel()
            await asyncio.wait({task}, timeout=FAREWELL)
            raise

    async def _run(self, job: _Job, repository: str, result: asyncio.Future[Image | None]) -> None:
        limit = self._order.settings.timeout + SPARE
        try:
            async with asyncio.timeout(limit):
                await self._try_pods(job, repository, result)
        except TimeoutError:
            words = f"The build took longer than {format_duration(limit)}, so it was given up."
            _settle(result, BuildTimeout(words))
        except BinderletError as error:
            _settle(result, error)
        except BaseException:
            result.cancel()
            raise

    async def _try_pods(self, job: _Job, repository: str, result: asyncio.Future[Image | None]) -> None:
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

    async def _on(self, pod: BuilderPod, job: _Job, result: asyncio.Future[Image | None]) -> None:
        """Build in a pod, connecting again as long as it is there.

        Raises:
            _Lost: the pod, or what ran in it, is gone.
            _Taken: it builds something else.
        """
        if pod.name != job.pod:
            job.pod, job.seen = pod.name, 0
            job.log.write(f"{MARK}{pod.name}.")
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

    async def _connect(self, pod: BuilderPod, job: _Job, result: asyncio.Future[Image | None]) -> str:
        """Give its order to the pod and take what it says until all is done; gives why the connection was lost.

        Raises:
            BinderletError: the build ended badly.
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

    async def _converse(self, running: Execution, job: _Job, result: asyncio.Future[Image | None]) -> str:
        feeding = self._tasks.start(_feed(running, replace(job.order, seen=job.seen), job.checkout), name="checkout")
        done = False
        try:
            async for line in _lines(running, self._silence):
                match decode(line):
                    case Line(text, phase):
                        job.seen += 1
                        job.log.write(text, phase)
                    case Built(image, bases):
                        done = True
                        self._bases |= bases
                        _settle(result, image)
                    case Failed(error):
                        raise error
                    case Busy():
                        raise _Taken
                    case _:
                        continue  # a sign of life
        finally:
            feeding.cancel()
            await asyncio.wait({feeding})
        if done:
            return ""
        if running.code is None or running.code == NOT_STARTED:
            return running.reason or "the connection was lost"
        raise _Lost(f"Its program ended with code {running.code}: {running.words or running.reason}")

    async def _pods(self) -> Sequence[BuilderPod]:
        with cluster_errors():
            found, _ = await self._client.collect(self._path, pod_from_api, params={"labelSelector": self._selector})
        return found


def last_seen(path: Path) -> tuple[str, int]:
    """Give the pod that a log names last, and how many of its lines follow. Blocks on the disk."""
    pod, seen = "", 0
    try:
        with path.open("rb") as file:
            for line in file:
                with contextlib.suppress(ValueError, KeyError, TypeError):
                    message = str(json.loads(line)["message"])
                    seen += 1
                    if message.startswith(MARK):
                        pod, seen = message.removeprefix(MARK).rstrip("."), 0
    except FileNotFoundError:
        return "", 0
    return (pod, seen) if pod else ("", 0)


async def _give_up(running: Execution) -> None:
    with contextlib.suppress(EngineUnavailable, TimeoutError):
        async with asyncio.timeout(FAREWELL):
            await running.send(frame(CANCEL))
            async for _ in running.output(FAREWELL):
                pass  # until it has ended


async def _feed(running: Execution, order: Order, checkout: Path | None) -> None:
    """Send the order and the checkout; a lost connection is seen by whoever reads."""
    with contextlib.suppress(EngineUnavailable):
        await running.send(frame(encode_order(order)))
        if checkout is not None:
            async with contextlib.aclosing(archive(checkout)) as pieces:
                async for piece in pieces:
                    await running.send(frame(piece))
        await running.send(frame(b""))


async def archive(folder: Path) -> AsyncGenerator[bytes]:
    """Give a folder as a tar archive, in pieces."""
    process = await asyncio.create_subprocess_exec(
        *("tar", "--create", "--numeric-owner", "--sort=name", "--directory", str(folder), "."),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    assert process.stdout is not None  # noqa: S101 - it is a pipe
    try:
        while piece := await process.stdout.read(PIECE):
            yield piece
        await process.wait()
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.stdout.read()  # or its end would never be told
            await process.wait()


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
