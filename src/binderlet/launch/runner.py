"""Does what the machine of a launch says, and tells it what happened."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import aclosing, contextmanager
from dataclasses import dataclass, replace
from typing import Protocol

import structlog

from binderlet.config.schema import Settings
from binderlet.errors import BinderletError, Full, LaunchFailed, UnknownProvider
from binderlet.events.bus import Bus, Story
from binderlet.events.kinds import LaunchEnded, LaunchEvent, LaunchStarted, SessionStarted
from binderlet.images.base import ImageStore
from binderlet.images.names import image_name
from binderlet.images.pull import Pulls
from binderlet.launch import machine as m
from binderlet.launch.admission import check_banned
from binderlet.launch.builds import Build, Builds, build_id
from binderlet.launch.places import Places
from binderlet.launch.request import LaunchRequest
from binderlet.model import Commit, Image, Phase, RepoSpec, Session
from binderlet.providers.base import Provider
from binderlet.sessions.order import SessionOrder

log = structlog.get_logger(__name__)

STEPS = {
    m.Resolve: "resolve",
    m.Pull: "pull",
    m.Build: "build",
    m.RequestPlace: "queue",
    m.StartSession: "start",
    m.AddRoute: "route",
}
"""Commands whose time is on record, under these names."""


COMES_BACK = 30.0
"""Seconds in which a viewer whose connection broke, or who loads the page again, comes back."""


class SessionStarter(Protocol):
    """What a launch needs of ``sessions.book.Sessions``."""

    async def start(self, order: SessionOrder) -> Session:
        """Start a session and wait until it answers; nothing is left behind on failure."""

    async def wait_ready(self, session: Session) -> None:
        """Wait until a session that was found running answers."""

    async def route(self, session: Session) -> None:
        """Lead visitors to it."""

    async def stop(self, session_id: str, reason: str) -> None:
        """End it. Idempotent."""


@dataclass(frozen=True, slots=True)
class Parts:
    """Everything that launches work with; one for all of them."""

    providers: Mapping[str, Provider]
    images: ImageStore
    builds: Builds
    places: Places
    sessions: SessionStarter
    bus: Bus
    settings: Settings
    clock: Callable[[], float] = time.time
    pulls: Pulls | None = None
    """None where images come from no registry."""


class Launch:
    """One launch: an object of its own, whoever watches. Its ``story`` is what viewers see."""

    def __init__(self, launch_id: str, request: LaunchRequest, parts: Parts) -> None:
        self.id = launch_id
        self.request = request
        self.story = Story()
        self.numbers_from = 0
        """Added to the numbers of its events; a story that begins anew has none that a client has seen before."""
        self.ended_at = 0.0
        self._parts = parts
        self._machine = m.Machine(request, has_registry=parts.pulls is not None)
        self._started_at = parts.clock()
        self._seconds: dict[str, float] = {}
        self._viewers = 0
        self._waits_for: Build | None = None

    @property
    def waited_for_build(self) -> bool:
        """Whether an image was built for it."""
        return self._machine.waited_for_build

    @property
    def commit(self) -> Commit | None:
        """What it was resolved to, once that is known."""
        return self._machine.commit

    @property
    def image(self) -> Image | None:
        """The image it found or waited for, once there is one."""
        return self._machine.image

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Count one viewer while the context lasts; soon after the last has left, a build need not begin for it."""
        self._viewers += 1
        if self._waits_for is not None:
            self._waits_for.launches.add(self.id)
        try:
            yield
        finally:
            self._viewers -= 1
            if not self._viewers and not self.ended_at:
                asyncio.get_running_loop().call_later(COMES_BACK, self._leave)

    def _leave(self) -> None:
        if not self._viewers and self._waits_for is not None:
            self._parts.builds.leave(self._waits_for, self.id)

    def _with_build(self, event: LaunchEvent) -> LaunchEvent:
        """Tell where the log of its build is: before it begins, and when it has failed."""
        commit = self._machine.commit
        if event.phase not in {Phase.WAITING, Phase.FAILED} or commit is None or not self.waited_for_build:
            return event
        name, request = build_id(self._image_name(commit)), self.request
        fields = {**event.fields, "build_id": name}
        if request.launch_host:
            # The page that shows this came from another member: it has to be told where the log is.
            fields["build_log"] = f"{request.host}api/builds/{name}/log"
        return replace(event, fields=fields)

    async def run(self, first: m.Happening | None = None) -> None:
        """Run to the end; never raises but for cancellation, after which nothing of it is left running."""
        self._parts.bus.tell(LaunchStarted(self.id, self.request.spec, self._started_at))
        happening: m.Happening | None = first or m.Begin()
        try:
            while happening is not None:
                happening = await self._do_all(self._machine.handle(happening))
        except Exception:
            log.exception("launch broke", launch=self.id)
            broken = LaunchFailed("The launch broke because of an error in binderlet itself.")
            await self._do_all(self._machine.handle(m.Failed(broken)))
        finally:
            if not self.ended_at:
                self._finish(m.Finish("failure", LaunchFailed("The service was stopped.")))

    async def _do_all(self, commands: Sequence[m.Command]) -> m.Happening | None:
        happening = None
        for command in commands:
            began = self._parts.clock()
            try:
                happening = await self._do(command) or happening
            except BinderletError as error:
                happening = m.Failed(error)
            step = STEPS.get(type(command))
            if step:
                self._seconds[step] = self._seconds.get(step, 0) + self._parts.clock() - began
        return happening

    async def _do(self, command: m.Command) -> m.Happening | None:  # noqa: C901, PLR0911, PLR0912 - one case a command
        parts = self._parts
        match command:
            case m.Announce(event):
                self.story.add(self._with_build(event))
            case m.Finish():
                self._finish(command)
            case m.Resolve(spec):
                return m.Resolved(await self._resolve(spec))
            case m.FindImage(commit):
                return await self._find_image(commit)
            case m.Pull(commit):
                return await self._pull(commit)
            case m.Build(commit):
                return m.Built(await self._build(commit))
            case m.RequestPlace(repo_url, owner):
                await self._wait_for_place(repo_url, owner)
                return m.Admitted()
            case m.StartSession(commit, image):
                return m.Started(await parts.sessions.start(self._order(commit, image)))
            case m.AwaitSession(session):
                await parts.sessions.wait_ready(session)
                return m.Started(session)
            case m.AddRoute(session):
                await parts.sessions.route(session)
                parts.bus.tell(SessionStarted(session, parts.clock()))
                return m.Routed()
            case m.Pause(seconds):
                await asyncio.sleep(seconds)
                return m.Paused()
            case m.StopSession(session):
                await parts.sessions.stop(session.id, "abandoned")
            case m.GiveBackPlace():
                parts.places.release(self.id)
        return None

    async def _resolve(self, spec: RepoSpec) -> Commit:
        check_banned(spec, self._parts.settings.limits.banned_specs)
        provider = self._parts.providers.get(spec.provider)
        if provider is None:
            raise UnknownProvider(f"No provider found for prefix {spec.provider}")
        return await provider.resolve(spec.spec)

    async def _find_image(self, commit: Commit) -> m.Happening:
        image = await self._parts.images.find(self._image_name(commit))
        if image is None:
            return m.ImageAbsent()
        self._parts.builds.refresh(commit, image)
        return m.ImageFound(image)

    def _image_name(self, commit: Commit) -> str:
        return image_name(self._parts.settings.builder.image_prefix, commit.slug, commit.sha)

    async def _pull(self, commit: Commit) -> m.Happening:
        pulls = self._parts.pulls
        pull = pulls.join(commit, self._image_name(commit)) if pulls is not None else None
        if pull is None:
            return m.NotPulled()
        async for _, event in pull.story.follow():
            self.story.add(event)
        image = await pull.result()
        return m.Pulled(image) if image else m.NotPulled()

    async def _build(self, commit: Commit) -> Image:
        try:
            return await self._wait_for_build(commit)
        finally:
            if self._parts.pulls is not None:
                self._parts.pulls.release(self._image_name(commit))

    async def _wait_for_build(self, commit: Commit) -> Image:
        build = self._parts.builds.join(commit, self._image_name(commit), retry=self.request.retry)
        build.launches.add(self.id)
        self._waits_for = build
        try:
            async for _, event in build.story.follow():
                self.story.add(event)
            return await build.result()
        finally:
            self._waits_for = None

    async def _wait_for_place(self, repo_url: str, owner: str) -> None:
        timeout = self._parts.settings.limits.queue_timeout
        try:
            async with asyncio.timeout(timeout), aclosing(self._parts.places.take(self.id, repo_url, owner)) as turns:
                async for queued in turns:
                    await self._do_all(self._machine.handle(queued))
        except TimeoutError:
            raise Full(f"No place became free within {timeout:.0f} seconds.", retry_after=60) from None

    def _order(self, commit: Commit, image: Image) -> SessionOrder:
        request = self.request
        return SessionOrder(self.id, request.spec, commit, image.name, request.host, request.client, image.id)

    def _finish(self, finish: m.Finish) -> None:
        self.ended_at = self._parts.clock()
        self.story.close()
        error, machine, request = finish.error, self._machine, self.request
        provider = self._parts.providers.get(request.spec.provider)
        self._parts.bus.tell(
            LaunchEnded(
                self.id,
                request.spec,
                self.ended_at,
                self._started_at,
                finish.status,
                code=error.code if error else "",
                message=error.message if error else "",
                commit=machine.commit,
                provider_name=provider.event_name if provider else "",
                session_id=machine.session.id if machine.session else "",
                built=machine.waited_for_build,
                build_only=request.build_only,
                build_token=request.build_token,
                origin=request.origin,
                request_origin=request.request_origin,
                phase_seconds=dict(self._seconds),
            )
        )
