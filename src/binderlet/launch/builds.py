"""Builds: one per image however many launches wait for it, in a queue that is fair to repository owners.

Each build has a folder ``<state>/builds/<id>/`` with ``request.json``, ``log`` and, once it has ended,
``result.json``. A folder without a result is a build that this process must take up again after a restart; a
failure is remembered for ``builder.failure_memory`` and answered with its log, unless the machine was to blame.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

import structlog

from binderlet.builder.base import Builder, BuildRequest
from binderlet.config.schema import BuilderSettings
from binderlet.errors import BinderletError, BuildFailed, DiskFull, Refused, Unavailable
from binderlet.events.buildlog import BuildLog
from binderlet.events.bus import Bus, Story
from binderlet.events.kinds import BuildEnded, BuildStarted, LaunchEvent
from binderlet.images.base import ImageStore
from binderlet.launch.fair import FairQueue
from binderlet.model import Commit, Image, Phase
from binderlet.providers.base import Provider
from binderlet.tasks import Tasks

log = structlog.get_logger(__name__)


def build_id(image: str) -> str:
    """Give the stable id of an image's build: 16 hexadecimal digits, part of the log's URL."""
    return hashlib.sha256(image.encode()).hexdigest()[:16]


class Build:
    """One build that runs, waits, or has ended a moment ago."""

    def __init__(self, commit: Commit, image: str, folder: Path, log_limit: int) -> None:
        self.id = folder.name
        self.commit = commit
        self.image = image
        self.folder = folder
        self.story = Story()
        self.started_at = 0.0
        self.ended_at = 0.0
        self.log_limit = log_limit
        self.turn = asyncio.Event()
        self.abandoned = False
        """Whether everyone left while it waited in the queue."""
        self.launches: set[str] = set()
        """Ids of the launches that somebody watches and that wait for it."""
        self._position = 0
        self._result: asyncio.Future[Image] = asyncio.get_running_loop().create_future()

    def wait_at(self, position: int) -> None:
        """Say where in the queue it stands, where that has changed."""
        if position != self._position:
            self._position = position
            text = f"Waiting for other builds: number {position} in the queue...\n"
            fields = {"queue_position": position, "build_id": self.id}
            self.story.add(LaunchEvent(Phase.WAITING, text, fields))

    async def result(self) -> Image:
        """Wait for the image.

        Raises:
            BinderletError: why it could not be built; the same for everyone who waits.
        """
        return await asyncio.shield(self._result)

    def succeed(self, image: Image, at: float) -> None:
        """End well."""
        self.ended_at = at
        self.story.close()
        self._result.set_result(image)

    def fail(self, error: BinderletError, at: float) -> None:
        """End badly; the error waits for those who ask, and nobody has to."""
        self.ended_at = at
        self.story.close()
        self._result.set_exception(error)
        self._result.exception()

    @property
    def state(self) -> str:
        """``waiting``, ``running``, ``success`` or ``failure``."""
        if self.ended_at:
            return "failure" if self.failed else "success"
        return "running" if self.started_at else "waiting"

    @property
    def failed(self) -> bool:
        """Whether it has ended badly."""
        return self._result.done() and self._result.exception() is not None

    @property
    def is_telling(self) -> bool:
        """Whether it has ended badly because of the repository: another try would end the same way."""
        return self.failed and not isinstance(self._result.exception(), Unavailable | Refused)


class Builds:
    """Runs builds, at most ``builder.concurrent`` at once."""

    def __init__(
        self,
        providers: Mapping[str, Provider],
        builder: Builder,
        images: ImageStore,
        settings: BuilderSettings,
        *,
        state: Path,
        bus: Bus,
        tasks: Tasks,
        clock: Callable[[], float] = time.time,
        free_disk: Callable[[Path], int] = lambda path: shutil.disk_usage(path).free,
    ) -> None:
        self._providers = providers
        self._builder = builder
        self._images = images
        self._settings = settings
        self._folder = state / "builds"
        self._checkouts = state / "checkouts"
        self._bus = bus
        self._tasks = tasks
        self._clock = clock
        self._free_disk = free_disk
        self._builds: dict[str, Build] = {}
        self._queue: FairQueue[str] = FairQueue()
        self._running: set[str] = set()
        self._logs: set[str] = set()

    @property
    def running(self) -> int:
        """Builds that run now."""
        return len(self._running)

    @property
    def waiting(self) -> int:
        """Builds in the queue."""
        return len(self._queue)

    def join(self, commit: Commit, image: str, *, retry: bool = False) -> Build:
        """Give the build of an image: the one that runs, one that failed a moment ago, or a new one.

        With ``retry`` one that failed counts no longer.
        """
        build = self._builds.get(image)
        if build is not None and not self._is_stale(build) and not (retry and build.failed):
            return build
        build = Build(commit, image, self._folder / build_id(image), self._settings.log_limit)
        self._builds[image] = build
        self._queue.put(image, commit.owner)
        self._tasks.start(self._run(build), name=f"build {build.id}")
        self._next_turns()
        return build

    def leave(self, build: Build, launch_id: str) -> None:
        """Say that nobody watches a launch any more; a build that waits and is wanted by no other is given up."""
        build.launches.discard(launch_id)
        if not build.launches and self._queue.remove(build.image):
            build.abandoned = True
            build.turn.set()

    def _is_stale(self, build: Build) -> bool:
        if build.abandoned:
            return True
        if not build.ended_at:
            return False
        return not build.is_telling or self._clock() - build.ended_at >= self._settings.failure_memory

    def log_path(self, build: str) -> Path | None:
        """Give the stored log of a build, or None where there is none of that id; answered from memory."""
        return self._folder / build / "log" if build in self._logs else None

    def known(self) -> Sequence[Build]:
        """Give the builds that wait, run or ended a moment ago."""
        return list(self._builds.values())

    async def recover(self) -> int:
        """Learn of the logs that are stored, and take up the builds left unfinished; returns how many those are."""
        self._logs, unfinished = await asyncio.to_thread(_read_stored, self._folder)
        for commit, image in unfinished:
            self.join(commit, image)
        return len(unfinished)

    def _next_turns(self) -> None:
        while len(self._running) < self._settings.concurrent and (image := self._queue.pop()) is not None:
            self._running.add(image)
            self._builds[image].turn.set()
        for position, image in enumerate(self._queue.order(), start=1):
            self._builds[image].wait_at(position)

    async def _run(self, build: Build) -> None:
        try:
            await build.turn.wait()
            await self._build(build)
        except BinderletError as error:
            build.fail(error, self._clock())
        except Exception:
            log.exception("build broke", build=build.id)
            build.fail(BuildFailed("The build broke because of an error in binderlet itself."), self._clock())
            raise
        finally:
            if not build.abandoned:  # it never ran; another build of this image may run by now
                self._running.discard(build.image)
            if not build.ended_at:
                build.fail(
                    BuildFailed("The service was stopped; the build is taken up when it starts again."),
                    self._clock(),
                )
            self._forget_old()
            self._next_turns()

    def _forget_old(self) -> None:
        for image in [image for image, build in self._builds.items() if build.ended_at and self._is_stale(build)]:
            del self._builds[image]

    async def _build(self, build: Build) -> None:
        if build.abandoned:
            raise BuildFailed("Everyone left before the build began, so it was given up.", hint="Launch it again.")
        await asyncio.to_thread(self._check_disk)
        build.started_at = self._clock()
        build_log = await asyncio.to_thread(_open_log, build)
        self._logs.add(build.id)
        self._bus.tell(BuildStarted(build.id, build.commit, build.image, build.started_at))
        pump = self._tasks.start(_pump(build_log, build.story), name=f"log of build {build.id}")
        try:
            image = await self._fetch_and_build(build, build_log)
        except BinderletError as error:
            await self._end(build, build_log, pump, error)
            raise
        finally:
            build_log.finish()
        await self._end(build, build_log, pump, None)
        build.succeed(image, self._clock())

    async def _end(
        self, build: Build, build_log: BuildLog, pump: asyncio.Task[None], error: BinderletError | None
    ) -> None:
        """Put the end on record, after the log's last line; a build that is only cut off keeps no result."""
        build_log.finish()
        await pump
        await asyncio.to_thread(_write_result, build.folder, error, self._clock())
        self._tell_end(build, error)

    def _tell_end(self, build: Build, error: BinderletError | None) -> None:
        status, code, message = ("failure", error.code, error.message) if error else ("success", "", "")
        ended = BuildEnded(build.id, build.commit, build.image, self._clock(), build.started_at, status, code, message)
        self._bus.tell(ended)

    async def _fetch_and_build(self, build: Build, build_log: BuildLog) -> Image:
        checkout, complete = self._checkouts / build.id, self._checkouts / f"{build.id}.complete"
        provider = self._providers[build.commit.provider]
        try:
            # A build tool that outlived an earlier process may still read this checkout: it stays as it is.
            if not await asyncio.to_thread(complete.exists):
                await asyncio.to_thread(_clear, checkout)
                await provider.fetch(build.commit, checkout, lambda line: build_log.write(line, Phase.FETCHING))
                await asyncio.to_thread(complete.touch)
            image = await self._builder.build(BuildRequest(build.commit, checkout, build.image), build_log)
            await self._images.refresh()
        finally:
            await asyncio.to_thread(complete.unlink, missing_ok=True)
            await asyncio.to_thread(_clear, checkout)
        return image

    def _check_disk(self) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        self._checkouts.mkdir(parents=True, exist_ok=True)
        free, needed = self._free_disk(self._folder), self._settings.min_free_disk
        if free < needed:
            raise DiskFull(
                f"This service builds nothing now: {free / 1024**3:.1f} GB of disk are free and it keeps"
                f" {needed / 1024**3:.1f} GB. Repositories that are already built still launch.",
                retry_after=600,
            )


async def _pump(build_log: BuildLog, story: Story) -> None:
    async for event in build_log.follow():
        story.add(event)


def _open_log(build: Build) -> BuildLog:
    """Open the log; one that an unfinished build of an earlier process left is gone on with, an ended one replaced."""
    result = build.folder / "result.json"
    if result.exists():
        shutil.rmtree(build.folder)
    build.folder.mkdir(parents=True, exist_ok=True)
    request = {"commit": asdict(build.commit), "image": build.image}
    (build.folder / "request.json").write_text(json.dumps(request))
    return BuildLog(build.folder / "log", limit=build.log_limit)


def _write_result(folder: Path, error: BinderletError | None, at: float) -> None:
    result = {"ok": error is None, "code": error.code if error else "", "at": at}
    (folder / "result.json").write_text(json.dumps(result))


def _clear(folder: Path) -> None:
    if folder.exists():
        shutil.rmtree(folder)


def _read_stored(folder: Path) -> tuple[set[str], list[tuple[Commit, str]]]:
    """Give the ids of the stored logs, and the builds without a result."""
    unfinished = []
    for request in sorted(folder.glob("*/request.json")):
        if (request.parent / "result.json").exists():
            continue
        try:
            body = json.loads(request.read_text())
            unfinished.append((Commit(**body["commit"]), str(body["image"])))
        except (ValueError, KeyError, TypeError) as error:
            log.warning("a build's request cannot be read, so it is not taken up", path=str(request), error=str(error))
    return {path.parent.name for path in folder.glob("*/log")}, unfinished
