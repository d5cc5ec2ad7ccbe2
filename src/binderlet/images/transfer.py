"""Pushes what was built to the registry, behind the launches: one image at a time, again until it is there.

What is still to be pushed is found by comparing the engine's images with the record, so that nothing needs to be kept
of the queue: a process that is killed at any moment loses nothing but the layer that was under way.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import structlog

from binderlet.errors import BinderletError, ImageMissing, ImagesUnavailable, StorageFull, StorageRefused
from binderlet.images.registry.base import Registry, Remote
from binderlet.images.registry.pulse import Pulse
from binderlet.images.transfer_record import Record
from binderlet.model import Image

log = structlog.get_logger(__name__)

KIND = "binderlet.image"
PUSHED_KINDS = {"content", "repo2docker"}
ENVIRONMENT_LABEL = "binderlet.environment"
BASE_LABEL = "binderlet.base"
FIRST_PAUSE = 5.0
LONGEST_PAUSE = 600.0
SHARE_EVERY = 60.0
"""Seconds between writings of the record into the registry, at least."""
RECONCILE_EVERY = 3600.0


@dataclass(frozen=True, slots=True)
class Names:
    """Which of the engine's images are ours to push."""

    images: str
    """What the names of sessions' images begin with."""
    environments: str = "binderlet/env"
    bases: str = "binderlet/base"


def with_parents(image: Image, here: Sequence[Image], names: Names) -> list[str]:
    """Give the names to push for an image, its base and environment first: their layers are then there for all.

    An image that was built from a Dockerfile or by repo2docker has no parents.
    """
    base = image.labels.get(BASE_LABEL, "")
    bases = [each.name for each in here if each.id == base and each.name.startswith(f"{names.bases}:")]
    environment = environment_name(image.labels, names)
    environments = [each.name for each in here if each.name == environment]
    return [*bases[:1], *environments, image.name]


def environment_name(labels: Mapping[str, str], names: Names) -> str:
    """Give the name of the environment image that an image is built on; empty where there is none."""
    key = labels.get(ENVIRONMENT_LABEL, "")
    return f"{names.environments}:{key}" if key else ""


def unpushed(here: Sequence[Image], record: Record, names: Names) -> list[str]:
    """Give the names to push so that all of ours is in the registry, parents first."""
    found: dict[str, None] = {}
    for image in here:
        if image.name.startswith(names.images) and image.labels.get(KIND) in PUSHED_KINDS:
            found |= dict.fromkeys(with_parents(image, here, names))
    ids = {image.name: image.id for image in here}
    return [name for name in found if not _is_settled(name, ids.get(name, ""), record, names)]


def _is_settled(name: str, image_id: str, record: Record, names: Names) -> bool:
    """Whether the registry has it; a base that was renewed takes the place of the one that was pushed before."""
    stored = record.get(name).image_id
    return stored == image_id if name.startswith(f"{names.bases}:") else bool(stored)


@dataclass(slots=True)
class Counts:
    """What was done since the start."""

    pushed: int = 0
    failed: int = 0
    found: int = 0
    """Images that were there already when they were to be pushed."""
    errors: dict[str, int] = field(default_factory=dict)
    """Failures by error code."""


class Pusher:
    """Pushes in the background; ``want`` at any time, ``run`` once."""

    def __init__(
        self,
        registry: Registry,
        pulse: Pulse,
        record: Record,
        *,
        here: Callable[[], Awaitable[Sequence[Image]]],
        names: Names,
        instance: str,
        enabled: bool = True,
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._registry = registry
        self._pulse = pulse
        self._record = record
        self._here = here
        self._names = names
        self._instance = instance
        self._enabled = enabled
        self._clock = clock
        self._sleep = sleep
        self._queue: deque[str] = deque()
        self._queued = asyncio.Event()
        self._pauses: dict[str, float] = {}
        self._is_shared = True
        self.counts = Counts()
        self.current = ""
        """The image that is being pushed; empty where none is."""
        self.problem = ""
        """Why the last push failed; empty once one has worked."""

    @property
    def waiting(self) -> Sequence[str]:
        """What is still to be pushed, the current one left out."""
        return tuple(self._queue)

    def want(self, names: Iterable[str]) -> None:
        """Push these, in this order, after what waits already."""
        for name in names:
            if self._enabled and name not in self._queue and name != self.current:
                self._queue.append(name)
        if self._queue:
            self._queued.set()

    async def built(self, name: str, seconds: float) -> None:
        """Push an image that was built, with its parents; ``seconds`` is how long the build took."""
        here = await self._here()
        image = next((each for each in here if each.name == name), None)
        if image is None:
            return
        entry = self._record.get(name)
        environment = environment_name(image.labels, self._names)
        self._record.put(replace(entry, build_seconds=seconds, environment=environment))
        parents = with_parents(image, here, self._names)[:-1]
        self.want(each for each in parents if not self._record.is_stored(each))
        if entry.image_id != image.id:  # also one that was built anew, on a newer base
            self.want([name])

    async def reconcile(self) -> None:
        """Find what is here and not in the registry, as far as the record knows."""
        self.want(unpushed(await self._here(), self._record, self._names))

    async def run(self) -> None:
        """Push what waits, again and again, until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._push_all())
            group.create_task(self._keep_up())

    async def _keep_up(self) -> None:
        """Learn what other machines know, once; then compare and share now and then."""
        next_look = 0.0
        while True:
            try:
                if not self._record.is_complete:
                    await self.learn()
                if self._clock() >= next_look:
                    await self.reconcile()
                    next_look = self._clock() + RECONCILE_EVERY
                await self.share()
            except BinderletError as error:
                log.info("the registry's record cannot be read or written now", error=str(error))
            await self._record.save()
            await self._sleep(SHARE_EVERY if self._record.is_complete else FIRST_PAUSE)

    async def learn(self) -> None:
        """Read the records of all machines that push to the same registry.

        Raises:
            BinderletError: it does not answer.
        """
        for note in await self._registry.notes():
            self._record.merge(await self._registry.read_note(note) or b"")
        self._record.is_complete = True

    async def share(self) -> None:
        """Write the record into the registry, where something was pushed since.

        Raises:
            BinderletError: it does not answer, or takes no more.
        """
        if not self._is_shared:
            await self._registry.write_note(self._instance, self._record.document())
            self._is_shared = True

    async def _push_all(self) -> None:
        while True:
            await self._queued.wait()
            if not self._queue:
                self._queued.clear()
                continue
            if not await self._pulse.answers_within(LONGEST_PAUSE):
                continue
            name = self._queue.popleft()
            self.current = name
            try:
                await self.push(name)
            except BinderletError as error:
                await self._failed(name, error)
            else:
                self._pauses.pop(name, None)
                self.problem = ""
            finally:
                self.current = ""

    async def push(self, name: str) -> None:
        """Push one image, unless the registry has it, and put on record what is there.

        Raises:
            BinderletError: it is not there.
        """
        here = {image.name: image for image in await self._here()}
        if name not in here:
            raise ImageMissing(f"{name} is not here any more, so it is not pushed.")
        began = self._clock()
        remote = await self._registry.find(name)
        if remote is None or self._is_renewed(remote, here[name]):
            remote = await self._registry.push(name)
            self.counts.pushed += 1
            log.info("pushed", image=name, bytes=remote.size, seconds=round(self._clock() - began, 1))
        else:
            self.counts.found += 1
        self._pulse.succeeded()
        entry = replace(
            self._record.get(name),
            image_id=remote.image_id,
            digest=remote.digest,
            size=remote.size,
            stored_at=self._clock(),
            environment=environment_name(remote.labels, self._names) if remote.labels.get(KIND) == "content" else "",
        )
        self._record.put(entry)
        self._is_shared = False
        await self._record.save()

    def _is_renewed(self, remote: Remote, image: Image) -> bool:
        """Whether an image that is on record as stored was made anew since."""
        return remote.image_id != image.id and self._record.get(image.name).image_id == remote.image_id

    async def _failed(self, name: str, error: BinderletError) -> None:
        if isinstance(error, ImageMissing):
            log.info("not pushed", image=name, error=str(error))
            return
        self.counts.failed += 1
        self.counts.errors[error.code] = self.counts.errors.get(error.code, 0) + 1
        self.problem = f"{error.message} {error.hint}"
        if isinstance(error, ImagesUnavailable | StorageRefused):
            await self._pulse.look()
        pause = min(self._pauses.get(name, FIRST_PAUSE / 2) * 2, LONGEST_PAUSE)
        if isinstance(error, StorageFull):
            pause = max(pause, LONGEST_PAUSE / 10)
        self._pauses[name] = pause
        log.warning("not pushed; it is tried again", image=name, error=str(error), seconds=pause)
        self.want_later(name)
        await self._sleep(pause if not self._queue or self._queue[0] == name else min(pause, FIRST_PAUSE))

    def want_later(self, name: str) -> None:
        """Put an image at the end of the queue."""
        self.current = ""
        self.want([name])
