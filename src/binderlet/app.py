"""The composition root: settings in, running service out. The only file that names concrete adapters.

``compose`` makes every part and hands each what it needs; ``Service`` starts and stops them in order; ``serve`` is
what the command line runs.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from enum import Enum, auto
from pathlib import Path

import structlog

from binderlet import __version__
from binderlet.api.ports import BuildView, Services, SessionView
from binderlet.api.routes import create_admin_app, create_app
from binderlet.api.server import UnixServer
from binderlet.api.timing import Timing
from binderlet.builder.base import Builder
from binderlet.builder.base_image import BaseImages
from binderlet.builder.buildkit import BuildKitBuilder
from binderlet.builder.fake import FakeBuilder
from binderlet.builder.renewal import Renewal
from binderlet.builder.toolchain import choose_toolchain
from binderlet.clients.docker import open_docker
from binderlet.clients.memory import Hardware, read_hardware
from binderlet.config import Settings
from binderlet.config.network import NetworkEnvironment, network_environment, read_text
from binderlet.config.schema import ServerSettings
from binderlet.deploy.lock import InstanceLock
from binderlet.engine.base import Engine
from binderlet.engine.docker import DockerEngine
from binderlet.engine.fake import FakeEngine
from binderlet.errors import ConfigError, RouterUnavailable
from binderlet.events.archive import Archive
from binderlet.events.buildlog import BuildLog
from binderlet.events.bus import Bus
from binderlet.events.metrics import Metrics
from binderlet.events.store import History
from binderlet.images.base import ImageStore
from binderlet.images.fake import FakeImages
from binderlet.images.local import LocalImages
from binderlet.launch.admission import Admission
from binderlet.launch.ahead import Desk, prepare
from binderlet.launch.book import LaunchBook
from binderlet.launch.builds import Builds
from binderlet.launch.places import Places
from binderlet.launch.runner import Parts
from binderlet.launch.vitals import Vitals
from binderlet.model import Image, ServiceStatus
from binderlet.pages.views import Pages
from binderlet.providers.base import Provider
from binderlet.providers.git import GitProvider
from binderlet.providers.github import GitHubProvider
from binderlet.router.base import Router
from binderlet.router.haproxy import HAProxyRouter
from binderlet.sessions.book import Sessions
from binderlet.sessions.capacity import capacity, startable
from binderlet.sessions.hibernator import Hibernator, Sight
from binderlet.sessions.keeper import Keeper
from binderlet.sessions.pool import Pool
from binderlet.sessions.reconcile import Reconciled
from binderlet.sessions.standby import Crowd
from binderlet.tasks import Tasks

log = structlog.get_logger(__name__)

Step = Callable[[str], None]
"""Takes what begins now, for a progress display."""


@dataclass(frozen=True, slots=True)
class Machinery:
    """What does the work outside this process, real or fake."""

    engine: Engine
    images: ImageStore
    builder: Builder
    description: str
    """For people: ``Docker 20.10.24, BuildKit ...``."""
    close: Callable[[], Awaitable[None]]


async def _real_machinery(settings: Settings, network: NetworkEnvironment, state: Path) -> Machinery:
    docker = await open_docker(settings.engine)
    async with AsyncExitStack() as undo:
        undo.push_async_callback(docker.close)
        toolchain = await choose_toolchain(socket=docker.socket, engine_is_podman=docker.is_podman)
        images = LocalImages(docker)
        base = BaseImages(docker, settings.builder, network, toolchain, state / "base")
        builder = BuildKitBuilder(settings.builder, network, toolchain=toolchain, base=base, images=images, state=state)
        await images.watch()
        renewal = Renewal(base, state / "base" / "renewal-log", max_age=settings.builder.base_max_age)
        renewal.start()
        undo.pop_all()

    async def close() -> None:
        await renewal.close()
        await images.close()
        await builder.close()

    engine = DockerEngine(docker, settings.engine, settings.server.instance)
    return Machinery(engine, images, builder, f"{docker}, {toolchain.description}", close)


async def _fake_machinery() -> Machinery:
    images = FakeImages()

    def keep(image: Image) -> None:
        images.images[image.name] = image

    async def close() -> None:
        await images.close()

    return Machinery(FakeEngine(serve=True), images, FakeBuilder(on_built=keep), "no engine: sessions are fakes", close)


def make_providers(settings: Settings, network: NetworkEnvironment, state: Path) -> dict[str, Provider]:
    """Make the repo providers that are enabled, in the order in which the home page offers them."""
    found: dict[str, Provider] = {}
    size_limit, environment = settings.builder.repository_limit, network.clone_environment()
    git = settings.providers.git
    if settings.providers.gh.enabled:
        found["gh"] = GitHubProvider(
            settings.providers.gh,
            git=git,
            mirrors=state / "mirrors",
            size_limit=size_limit,
            environment=environment,
        )
    if git.enabled:
        found["git"] = GitProvider(git, mirrors=state / "mirrors", size_limit=size_limit, environment=environment)
    return found


def visitors_url(server: ServerSettings) -> str:
    """Give where visitors reach the service, with trailing slash."""
    if server.public_url:
        return server.public_url.rstrip("/") + "/"
    host = "localhost" if server.host in {"0.0.0.0", "::", "127.0.0.1"} else server.host  # noqa: S104 - compared
    return f"http://{host}:{server.port}/"


class End(Enum):
    """What ends with this process."""

    ALL = auto()
    """Everything: sessions, builds, the data path."""
    NEW = auto()
    """What this process started: the start failed."""
    LEAVE = auto()
    """Nothing: the next control plane takes all of it over."""


class Service:
    """Every part of one running service. ``start``, then ``stop``; each once."""

    def __init__(
        self, settings: Settings, machinery: Machinery, network: NetworkEnvironment, state: Path, hardware: Hardware
    ) -> None:
        self.settings = settings
        self.url = visitors_url(settings.server)
        self.state = state
        self.took_over = False
        """Whether an earlier control plane's data path carries visitors."""
        self.stopping = asyncio.Event()
        """Set when an operator asks for the end."""
        self._machinery = machinery
        self._run_folder = state / "run"
        self.bus = Bus()
        self.tasks = Tasks("service")
        self._work = Tasks("launches and builds")
        self.router: Router = HAProxyRouter(
            settings.server, state, self._run_folder / "control.sock", title=settings.pages.title
        )
        self.providers = make_providers(settings, network, state)
        self._sessions_tasks = Tasks("sessions")
        environment = network.variables() | settings.session.environment
        self.standbys = Pool(
            machinery.engine,
            settings,
            self._sessions_tasks,
            state=state,
            crowd=self._crowd,
            prepare=lambda spec, host: prepare(self.book, spec, host or self.url),
            environment=environment,
        )
        self.sessions = Sessions(
            self.standbys.engine,
            self.router,
            settings,
            self.bus,
            self._sessions_tasks,
            environment=environment,
            standbys=self.standbys,
        )
        self.hibernator = Hibernator(
            lambda: {**self.standbys.waiting(), **self.sessions.settled()},
            lambda: self.keeper.last_active,
            settings.hibernate,
            on_look=self._on_memory,
        )
        self.keeper = Keeper(
            self.sessions,
            self.router,
            settings.cull,
            state=state / "activity.json",
            computing=lambda: self.hibernator.computing,
        )
        self.builds = Builds(
            self.providers,
            machinery.builder,
            machinery.images,
            settings.builder,
            state=state,
            bus=self.bus,
            tasks=self._work,
        )
        self.places = Places(
            Admission(
                places=settings.limits.sessions or capacity(hardware, settings.session.memory).sessions,
                per_repository=settings.limits.per_repository,
                queue=settings.limits.queue,
            )
        )
        self.book = LaunchBook(
            Parts(
                self.providers,
                machinery.images,
                self.builds,
                self.places,
                self.sessions,
                self.bus,
                settings,
            ),
            self._work,
        )
        self._vitals = Vitals(machinery.engine, self.router, state=state, min_free_disk=settings.builder.min_free_disk)
        self._history = History(state / "history.sqlite", keep=settings.events.history)
        self._archive = Archive(state / "archive")
        self.metrics = Metrics(
            self.status,
            version=__version__,
            provider_names={provider.id: provider.event_name for provider in self.providers.values()},
        )
        self._servers: list[UnixServer] = []
        self._close_streams: list[Callable[[], None]] = []

    async def start(self, step: Step) -> None:
        """Bring everything up, in the order in which the parts need each other."""
        with contextlib.suppress(RouterUnavailable):
            self.took_over = bool(await self.router.ping())
        await self._prepare_builder(step)
        step("Preparing the sessions' network")
        await self._machinery.engine.prepare()
        step("Starting HAProxy")
        await self.router.prepare()
        step("Looking for what an earlier run left")
        self.keep_record()
        await self.standbys.load()
        await self._take_over()
        step("Starting the control plane")
        await self._listen()
        self._start_loops()
        await self._vitals.look()

    async def _prepare_builder(self, step: Step) -> None:
        step(f"Preparing the base image ({self._machinery.description})")
        path = self.state / "base" / "log"
        await asyncio.to_thread(path.unlink, missing_ok=True)
        build_log = BuildLog(path)
        showing = self.tasks.start(_show(build_log, step), name="base image's log")
        try:
            await self._machinery.builder.prepare(build_log)
        finally:
            build_log.finish()
            await showing

    async def _take_over(self) -> None:
        """Find the sessions, builds and half-done launches of an earlier control plane."""
        self.sessions.on_gone(lambda session: self.places.release(session.launch_id))
        # The engine may be away now: what it has is then found by a later reconciling.
        self.sessions.on_reconciled(self._adopt)
        await self.sessions.reconcile()
        await self.builds.recover()

    def _adopt(self, found: Reconciled) -> None:
        self.places.adopt({session.launch_id: session.repo_url for session in found.found})
        for session in found.recovered:
            self.book.recover(session, self.url)

    async def _listen(self) -> None:
        secret = self.settings.security.build_token_secret.get_secret_value()
        services = Services(
            settings=self.settings,
            book=self.book,
            providers=self.providers,
            operations=Operations(self),
            pages=await asyncio.to_thread(
                Pages, self.settings, [provider.display for provider in self.providers.values()]
            ),
            build_token_secret=secret or await asyncio.to_thread(keep_secret, self.state / "build-token-secret"),
            status=self.status,
            metrics=self._render_metrics,
            build_log=self.builds.log_path,
            builds=self.build_views,
            desk=Desk(self.standbys, self.providers, self.settings.server.public_url, places=self.places.limit),
            builder_info=self._machinery.builder.info,
        )
        timeout = self.settings.server.shutdown_timeout
        control, admin = create_app(services), create_admin_app(services)
        self._close_streams = [control.state.streams.close, admin.state.streams.close]
        # HAProxy runs as a user of its own and connects to the one; the other is for this user alone.
        self._servers = [
            UnixServer(
                Timing(control, self.metrics.observe_http),
                self._run_folder / "control.sock",
                mode=0o666,
                shutdown_timeout=timeout,
            ),
            UnixServer(admin, self._run_folder / "admin.sock", mode=0o600, shutdown_timeout=timeout),
        ]
        for server in self._servers:
            await server.start(self.tasks)

    def keep_record(self) -> None:
        """Put what happens on record: metrics, history, archive."""
        self.bus.listen(self.metrics.listen)
        self.bus.listen(self._history.listen)
        self.tasks.start(self._history.run(), name="history")
        if self.settings.events.archive:
            self.bus.listen(self._archive.listen)
            self.tasks.start(self._archive.run(), name="archive")

    def _start_loops(self) -> None:
        self._sessions_tasks.start(self.sessions.run(), name="watch sessions")
        self._sessions_tasks.start(self.keeper.run(), name="keeper")
        self._sessions_tasks.start(self.hibernator.run(), name="hibernator")
        self._sessions_tasks.start(self.standbys.run(), name="standbys")
        self.tasks.start(self._vitals.run(), name="vitals")

    def _on_memory(self, sight: Sight) -> None:
        """Let in what memory allows, whatever places are free."""
        machine = sight.machine
        self.places.allow(None if machine is None else startable(machine, self.settings.session.memory))

    def status(self) -> ServiceStatus:
        """Give a snapshot, from memory."""
        machine = self.hibernator.sight.machine
        return ServiceStatus(
            sessions=self.places.taken,
            session_limit=self.places.limit,
            launches_waiting=self.places.waiting,
            builds_running=self.builds.running,
            builds_waiting=self.builds.waiting,
            draining=self.book.draining,
            started_at=self._vitals.started_at,
            checks=self._vitals.checks,
            hibernated=len(self.hibernator.hibernated),
            hibernation_off=self.hibernator.off_because,
            memory=machine.memory if machine else 0,
            memory_available=machine.available if machine else 0,
            swap=machine.swap if machine else 0,
            swap_free=machine.swap_free if machine else 0,
            standbys=len(self.standbys.waiting()),
        )

    def _crowd(self) -> Crowd:
        places = self.places
        starting = max(0, places.taken - len(self.sessions.settled()))
        return Crowd(places.limit, places.taken, places.waiting, starting)

    def _render_metrics(self) -> bytes:
        self.metrics.set_dropped("history", self._history.dropped)
        self.metrics.set_dropped("launch events", self._archive.dropped)
        return self.metrics.render()

    def build_views(self) -> list[BuildView]:
        """Give the builds that wait, run or ended a moment ago, from memory."""
        return [
            BuildView(build.id, build.image, build.commit.repo_url, build.state, build.started_at)
            for build in self.builds.known()
        ]

    def session_views(self) -> list[SessionView]:
        """Give the sessions with their idleness, from memory."""
        now, active, traffic = time.time(), self.keeper.last_active, self.keeper.traffic
        return [
            SessionView(
                session,
                max(0.0, now - active.get(session.id, now)),
                traffic.get(session.id),
                f"{self.url}user/{session.id}/",
            )
            for session in self.sessions.running().values()
        ]

    async def stop(self, end: End) -> None:
        """End this process's part, and what else is to end. Errors are logged.

        After ``End.LEAVE`` launches and builds still go on: the process must end without cancelling them, so that
        they leave the sessions and build jobs that they began.
        """
        self.book.draining = True
        for close_streams in self._close_streams:
            close_streams()
        try:
            await asyncio.gather(*(server.stop() for server in self._servers))
            await self.tasks.close()
            await self._sessions_tasks.close()
            if end is not End.LEAVE:
                await self._end_work(end)
        finally:
            await self.standbys.close()
            await self._history.close()
            await self._archive.close()

    async def _end_work(self, end: End) -> None:
        await self._work.close()
        self.hibernator.close()
        if end is End.ALL:
            await self.standbys.end()
            await self._end_sessions()
        if end is End.ALL or not self.took_over:
            await self.router.shutdown()
        for close in (
            *(provider.close for provider in self.providers.values()),
            self.sessions.close,
        ):
            await close()
        await self.router.close()
        await self._machinery.close()
        await self._machinery.engine.close()

    async def _end_sessions(self) -> None:
        ends = [self.sessions.stop(session_id, "service stopped") for session_id in self.sessions.running()]
        for error in await asyncio.gather(*ends, return_exceptions=True):
            if isinstance(error, BaseException):
                log.error("a session could not be ended", error=str(error))


class Operations:
    """What the operator may see and do, for the admin socket."""

    def __init__(self, service: Service) -> None:
        self._service = service

    def sessions(self) -> Sequence[SessionView]:
        """List the sessions."""
        return self._service.session_views()

    def stop(self, session_id: str) -> Awaitable[None]:
        """End a session."""
        return self._service.sessions.stop(session_id, "stopped by the operator", must_exist=True)

    def extend(self, session_id: str, seconds: float) -> Awaitable[float]:
        """Let a session stay longer."""
        return self._service.keeper.extend(session_id, seconds)

    def shutdown(self) -> None:
        """Ask the service to end, with its sessions."""
        self._service.stopping.set()


@dataclass(frozen=True, slots=True)
class Handle:
    """A service that runs, for whoever started it."""

    url: str
    leave: Callable[[], None]
    """End the control plane alone; the process must then end at once, see ``Service.stop``."""


async def serve(settings: Settings, ready: Callable[[Handle], None], step: Step) -> None:
    """Run the service until it is asked to end, or cancelled.

    Cancelling ends it with everything it started; ``Handle.leave`` ends the control plane alone.

    Raises:
        BinderletError: it could not start; what was started has been ended.
    """
    state = await asyncio.to_thread(settings.paths.state.resolve)
    with InstanceLock(settings.server.instance, state):
        await asyncio.to_thread(_make_folders, state)
        network = await asyncio.to_thread(network_environment, settings.network, os.environ, read_text)
        step("Looking for a container engine")
        fake = settings.engine.kind == "fake"
        machinery = await (_fake_machinery() if fake else _real_machinery(settings, network, state))
        service = Service(settings, machinery, network, state, await asyncio.to_thread(read_hardware))
        end = End.ALL

        def leave() -> None:
            nonlocal end
            end = End.LEAVE
            service.stopping.set()

        try:
            await service.start(step)
            ready(Handle(service.url, leave))
            await service.stopping.wait()
        except Exception:
            end = End.NEW
            raise
        finally:
            await service.stop(end)


async def _show(build_log: BuildLog, step: Step) -> None:
    async for event in build_log.follow():
        if event.message.strip():
            step(event.message.strip()[:160])


def _make_folders(state: Path) -> None:
    # HAProxy's own user passes through to the control socket; nothing else here is for others.
    try:
        (state / "run").mkdir(parents=True, exist_ok=True)
        (state / "run" / "writable").touch()
        (state / "run" / "writable").unlink()
    except OSError as error:
        raise ConfigError(f"paths.state: {state} cannot be written: {error.strerror}.") from error


def keep_secret(path: Path) -> str:
    """Give the secret in the file; made, readable by us alone, where there is none."""
    if not path.exists():
        path.touch(mode=0o600)
        path.write_text(secrets.token_hex(32))
    return path.read_text().strip()
