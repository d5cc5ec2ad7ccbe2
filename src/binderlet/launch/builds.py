"""Builds: one per image however many launches wait for it, in a queue that is fair to repository owners.

Each build has a folder ``<state>/builds/<id>/`` with ``request.json``, ``log`` and, once it has ended,
``result.json``. A folder without a result is a build that this process must take up again after a restart; a
failure is remembered for ``builder.failure_memory``, restarts or not, and answered with its log, unless the machine
was to blame. An image on an old base image is built anew when it is used and nothing else is built.
"""

from __future__ import annotations

import asyncio
import hashlib
import math
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
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
from binderlet.launch.stored_builds import Failure, open_log, read_events, read_stored, write_result
from binderlet.model import Commit, Image, Phase
from binderlet.providers.base import Provider
from binderlet.tasks import Tasks

log = structlog.get_logger(__name__)

REFRESH_EVERY = 86400.0
"""Seconds in which an image on an old base image is built anew at most once."""


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
        self.is_refresh = False
        """Whether there is an image already, which serves until the new one takes its name."""
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
        self._refreshed: dict[str, float] = {}

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
        self._start(build)
        return build

    def refresh(self, commit: Commit, image: Image) -> None:
        """Build an image anew in the background where its base image is no longer the newest; at most once a day."""
        known = self._builds.get(image.name)
        if not self._builder.is_outdated(image) or (known is not None and not known.ended_at):
            return
        if self._clock() - self._refreshed.get(image.name, -math.inf) < REFRESH_EVERY:
            return
        self._refreshed[image.name] = self._clock()
        # A log of its own: that of the image in use stays.
        folder = self._folder / build_id(f"{image.name} refresh")
        build = Build(commit, image.name, folder, self._settings.log_limit)
        build.is_refresh = True
        self._start(build)

    def _start(self, build: Build) -> None:
        self._builds[build.image] = build
        self._queue.put(build.image, build.commit.owner)
        self._tasks.start(self._run(build), name=f"build {build.id}")
        self._next_turns()

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
        """Learn of the logs that are stored, and take up the builds left unfinished; returns how many those are.

        Failures that are remembered are answered from memory again, with their logs.
        """
        since = self._clock() - self._settings.failure_memory
        stored = await asyncio.to_thread(read_stored, self._folder, since)
        self._logs = set(stored.logs)
        for failure in stored.failures:
            if failure.image not in self._builds:
                await self._remember(failure)
        for commit, image in stored.unfinished:
            self.join(commit, image)
        return len(stored.unfinished)

    async def _remember(self, failure: Failure) -> None:
        build = Build(failure.commit, failure.image, self._folder / build_id(failure.image), self._settings.log_limit)
        for event in await asyncio.to_thread(lambda: list(read_events(build.folder / "log"))):
            build.story.add(event)
        build.started_at = failure.at
        build.fail(failure.error, failure.at)
        if build.is_telling:
            self._builds[failure.image] = build

    def _next_turns(self) -> None:
        while len(self._running) < self._settings.concurrent and (image := self._next()) is not None:
            self._running.add(image)
            self._builds[image].turn.set()
        waiting = [self._builds[image] for image in self._queue.order() if not self._builds[image].is_refresh]
        for position, build in enumerate(waiting, start=1):
            build.wait_at(position)

    def _next(self) -> str | None:
        """Take the next build; those that nobody waits for come when there is no other."""
        wanted = self._queue.pop(lambda image: not self._builds[image].is_refresh or bool(self._builds[image].launches))
        return wanted if wanted is not None or self._running else self._queue.pop()

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
        build_log = await asyncio.to_thread(
            open_log, build.folder, build.commit, build.image, build.log_limit, is_refresh=build.is_refresh
        )
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
        self.refresh(build.commit, image)

    async def _end(
        self, build: Build, build_log: BuildLog, pump: asyncio.Task[None], error: BinderletError | None
    ) -> None:
        """Put the end on record, after the log's last line; a build that is only cut off keeps no result."""
        build_log.finish()
        await pump
        await asyncio.to_thread(write_result, build.folder, error, self._clock())
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
            request = BuildRequest(build.commit, checkout, build.image, refresh=build.is_refresh)
            image = await self._builder.build(request, build_log)
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


def _clear(folder: Path) -> None:
    if folder.exists():
        shutil.rmtree(folder)
