"""Brings images from the registry, or from a peer's, instead of building them: one pull however many wait for it.

Three answers are kept apart. The registry *has* the image: it is pulled, unless building it is quicker. The registry
*does not have* it: peers are asked, then it is built. The registry *does not answer*: that says nothing about the
image, so a launch waits for a while; then such images are built, but few at a time, so that an outage of the registry
never becomes a storm of builds. Images that are known to be new are built as if nothing were wrong.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import structlog

from binderlet.config.registry import RegistrySettings
from binderlet.errors import BinderletError, ImageMissing, ImageRejected, ImagesUnavailable, StorageRefused, Unavailable
from binderlet.events.bus import Story
from binderlet.events.kinds import LaunchEvent
from binderlet.images.base import ImageStore
from binderlet.images.names import image_name
from binderlet.images.pull_choice import Rate, is_still_worth, is_worth_pulling, missing_bytes
from binderlet.images.pull_trust import why_not
from binderlet.images.registry.base import Progress, Registry, Remote
from binderlet.images.registry.pulse import Pulse
from binderlet.images.transfer_record import Record
from binderlet.model import Commit, Image, Phase
from binderlet.tasks import Tasks

log = structlog.get_logger(__name__)

TELL_EVERY = 1.0
PEER_TIMEOUT = 10.0
"""Seconds in which a peer must say whether it has an image."""
PEER_REST = 60.0
"""Seconds in which a peer that did not answer is not asked again."""
LOOK_EVERY = 2.0
"""Seconds between looks at whether a build may begin although the registry does not answer."""
Layers = Callable[[Mapping[str, str]], Awaitable[frozenset[str]]]
"""Gives the diff ids of the layers that are here and may be shared with an image of these labels."""


@dataclass(slots=True)
class Peer:
    """Another member's registry."""

    registry: Registry
    prefix: str
    """What its images' names begin with."""
    rate: Rate = field(default_factory=Rate)
    rests_until: float = 0.0


@dataclass(slots=True)
class Counts:
    """What was done since the start."""

    pulled: int = 0
    peers: int = 0
    """Images that came from a peer."""
    rejected: int = 0
    """Images that were not what they should be."""
    built_instead: int = 0
    """Images that were built although the registry has them, because that was quicker."""
    rebuilt: int = 0
    """Images that the registry may have, built because it did not answer."""


class Pull:
    """One image that is looked for elsewhere, or has been a moment ago."""

    def __init__(self, commit: Commit, name: str) -> None:
        self.commit = commit
        self.name = name
        self.story = Story()
        self.is_limited = False
        """Whether its build counts against ``registry.builds_when_down``: ``Pulls.release`` when it has ended."""
        self._result: asyncio.Future[Image | None] = asyncio.get_running_loop().create_future()

    def say(self, text: str, phase: Phase = Phase.FETCHING) -> None:
        """Tell everyone who waits."""
        self.story.add(LaunchEvent(phase, f"{text}\n"))

    async def result(self) -> Image | None:
        """Wait for the image; None where it must be built.

        Raises:
            BinderletError: neither is possible now.
        """
        return await asyncio.shield(self._result)

    def end(self, result: Image | BinderletError | None) -> None:
        """End it, once."""
        self.story.close()
        if isinstance(result, BinderletError):
            self._result.set_exception(result)
            self._result.exception()
        else:
            self._result.set_result(result)


class Pulls:
    """All pulls of one service."""

    def __init__(
        self,
        registry: Registry | None,
        pulse: Pulse,
        record: Record,
        images: ImageStore,
        *,
        settings: RegistrySettings,
        tasks: Tasks,
        peers: Sequence[Peer] = (),
        layers: Layers,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._registry = registry
        self._pulse = pulse
        self._record = record
        self._images = images
        self._settings = settings
        self._tasks = tasks
        self._peers = peers
        self._layers = layers
        self._clock = clock
        self._running: dict[str, Pull] = {}
        self._rebuilding: set[str] = set()
        self.rate = Rate()
        self.counts = Counts()

    @property
    def running(self) -> int:
        """Images that are looked for or pulled now."""
        return len(self._running)

    def join(self, commit: Commit, name: str) -> Pull:
        """Give the pull of an image: the one that goes on, or a new one."""
        pull = self._running.get(name)
        if pull is None:
            pull = self._running[name] = Pull(commit, name)
            self._tasks.start(self._run(pull), name=f"pull {name}")
        return pull

    def release(self, name: str) -> None:
        """Say that the build of an image, begun because the registry did not answer, has ended. Idempotent."""
        self._rebuilding.discard(name)

    async def _run(self, pull: Pull) -> None:
        result: Image | BinderletError | None = ImagesUnavailable("The service was stopped.")
        try:
            result = await self._own(pull)
            if result is None and not pull.is_limited:
                result = await self._from_peers(pull)
        except BinderletError as error:
            result = error
        except Exception:
            log.exception("pull broke", image=pull.name)
            result = None
            raise
        finally:
            del self._running[pull.name]
            pull.end(result)

    async def _own(self, pull: Pull) -> Image | None:
        """Bring it from the service's own registry, waiting for that while it does not answer."""
        registry = self._registry
        while registry is not None:
            try:
                remote = await registry.find(pull.name)
                self._pulse.succeeded()
                if remote is None:
                    self._record.forget(pull.name)
                    return None
                return await self._bring(pull, registry, remote, self.rate)
            except (ImageRejected, ImageMissing) as error:
                self._reject(pull, error)
                return None
            except (ImagesUnavailable, StorageRefused) as error:
                self._pulse.failed(error)
                if self._is_new(pull.name) or not await self._wait(pull, error):
                    return None
        return None

    def _is_new(self, name: str) -> bool:
        """Whether the registry is known not to have it, as far as anybody told us."""
        return self._record.is_complete and not self._record.is_stored(name)

    async def _wait(self, pull: Pull, error: BinderletError) -> bool:
        """Wait until the registry answers: True; or until a build may begin without it: False.

        Raises:
            ImagesUnavailable: it does not answer, and the operator allows no builds meanwhile.
        """
        since = self._pulse.down_since
        patience = self._settings.patience - (0 if since is None else self._clock() - since)
        if patience > 0:
            pull.say("The image registry does not answer; waiting for it...", Phase.WAITING)
        if await self._pulse.answers_within(patience):
            return True
        limit = self._settings.builds_when_down
        if limit == 0:
            raise ImagesUnavailable(
                f"This repository's image may be in the registry, which does not answer. {error.message}",
                hint="Try again in a few minutes. Repositories whose images are on this machine still launch.",
            )
        if len(self._rebuilding) >= limit:
            pull.say("The image registry does not answer; waiting for it, or for a turn to build...", Phase.WAITING)
        while len(self._rebuilding) >= limit:
            if await self._pulse.answers_within(LOOK_EVERY):
                return True
        self._rebuilding.add(pull.name)
        self.counts.rebuilt += 1
        pull.is_limited = True
        pull.say("The image registry does not answer; building the image without it...", Phase.WAITING)
        return False

    async def _bring(self, pull: Pull, registry: Registry, remote: Remote, rate: Rate) -> Image | None:
        if reason := why_not(remote.labels, pull.commit):
            raise ImageRejected(f"{remote.source} has another image under {remote.name}: {reason}.")
        entry = self._record.get(pull.name)
        here = await self._layers(remote.labels)
        size = missing_bytes(remote, here)
        build = entry.build_seconds or self._record.usual_build()
        if not is_worth_pulling(size, rate, build):
            self.counts.built_instead += 1
            pull.say(f"{remote.source} has this image, but building it is quicker.", Phase.WAITING)
            return None
        began = self._clock()
        image = await self._move(pull, registry, remote, build)
        if image is None:
            rate.measured(size, (self._clock() - began) * 2)
            return None
        rate.measured(size, self._clock() - began)
        self.counts.pulled += 1
        if registry is self._registry:
            self._record.put(
                replace(self._record.get(pull.name), image_id=remote.image_id, digest=remote.digest, size=remote.size)
            )
        await self._images.refresh()
        return image

    async def _move(self, pull: Pull, registry: Registry, remote: Remote, build_seconds: float) -> Image | None:
        """Pull, unless that turns out to be much slower than building: then None."""
        began = told = self._clock()
        latest = Progress(0, 0)

        def tell(progress: Progress) -> None:
            nonlocal told, latest
            latest = progress
            if self._clock() - told >= TELL_EVERY:
                told = self._clock()
                pull.say(f"Pulling: {progress.done / 1e6:.0f} of {progress.total / 1e6:.0f} MB...")

        pull.say(f"Pulling the image from {remote.source} ({remote.size / 1e6:.0f} MB)...")
        work = self._tasks.start(registry.pull(remote, pull.name, tell), name=f"move {pull.name}")
        try:
            while not (await asyncio.wait([work], timeout=TELL_EVERY))[0]:
                if not is_still_worth(latest, self._clock() - began, build_seconds):
                    pull.say("Pulling is slow; building the image instead...", Phase.WAITING)
                    self.counts.built_instead += 1
                    return None
            return work.result()
        finally:
            if not work.done():
                work.cancel()
                await asyncio.wait([work])

    async def _from_peers(self, pull: Pull) -> Image | None:
        for peer in self._peers:
            if self._clock() < peer.rests_until:
                continue
            name = image_name(peer.prefix, pull.commit.slug, pull.commit.sha)
            try:
                async with asyncio.timeout(PEER_TIMEOUT):
                    remote = await peer.registry.find(name)
                image = await self._bring(pull, peer.registry, remote, peer.rate) if remote else None
            except (ImageRejected, ImageMissing) as error:
                self._reject(pull, error)
            except (Unavailable, StorageRefused, TimeoutError) as error:
                # Of a public registry "not allowed" may mean "not there"; either way the next one is asked.
                log.info("a peer's registry does not help", prefix=peer.prefix, error=str(error))
                peer.rests_until = self._clock() + (PEER_REST if not isinstance(error, StorageRefused) else 0)
            else:
                if image is not None:
                    self.counts.peers += 1
                    return image
        return None

    def _reject(self, pull: Pull, error: BinderletError) -> None:
        log.warning("an image was not taken from a registry", image=pull.name, error=str(error))
        self.counts.rejected += 1
        self._record.forget(pull.name)
        pull.say("The registry's image cannot be used; building it...", Phase.WAITING)
