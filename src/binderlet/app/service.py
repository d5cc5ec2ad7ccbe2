"""Every part of one running service, and the order in which they start and end."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from enum import Enum, auto
from pathlib import Path

import structlog

from binderlet.api.ports import Services
from binderlet.app.backups import backup_check, make_schedule
from binderlet.app.bucket import care_for
from binderlet.app.front import Front, keep_secret, visitors_url
from binderlet.app.https import make_https, watch_certificate, webroot_of
from binderlet.app.kubernetes import make_hibernator, tell_viewers
from binderlet.app.machinery import Machinery, make_providers
from binderlet.app.membership import Membership
from binderlet.app.operations import Operations
from binderlet.app.preparing import prepare_builder, prepare_meanwhile
from binderlet.app.record import Record
from binderlet.app.router import make_router
from binderlet.app.upkeep import Parts as UpkeepParts
from binderlet.app.upkeep import Upkeep
from binderlet.app.view import View
from binderlet.clients.memory import Hardware
from binderlet.config import Settings
from binderlet.config.network import NetworkEnvironment
from binderlet.errors import RouterUnavailable
from binderlet.events.bus import Bus
from binderlet.launch.admission import Admission
from binderlet.launch.ahead import Desk, prepare
from binderlet.launch.book import LaunchBook
from binderlet.launch.builds import Builds
from binderlet.launch.places import Places
from binderlet.launch.runner import Parts
from binderlet.launch.vitals import Vitals
from binderlet.pages.views import Pages
from binderlet.router.base import Router
from binderlet.sessions.book import Sessions
from binderlet.sessions.capacity import capacity, planned, startable
from binderlet.sessions.ending import Endings
from binderlet.sessions.hibernator import Sight
from binderlet.sessions.keeper import Keeper
from binderlet.sessions.pool import Pool
from binderlet.sessions.reconcile import Reconciled
from binderlet.sessions.standby import Crowd
from binderlet.tasks import Tasks

log = structlog.get_logger(__name__)

Step = Callable[[str], None]
"""Takes what begins now, for a progress display."""


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
        self,
        settings: Settings,
        machinery: Machinery,
        network: NetworkEnvironment,
        state: Path,
        hardware: Hardware,
        *,
        router: Router | None = None,
    ) -> None:
        self.settings = settings
        self.url = visitors_url(settings.server)
        self.state = state
        self.took_over = False
        """Whether an earlier control plane's data path carries visitors."""
        self.stopping = asyncio.Event()
        """Set when an operator asks for the end."""
        self._front: Front | None = None
        self._machinery = machinery
        self._run_folder = state / "run"
        self.bus = Bus()
        self.tasks = Tasks("service")
        self._work = Tasks("launches and builds")
        self._sessions_tasks = Tasks("sessions")
        haproxy = make_router(settings, state)
        self.router: Router = router or haproxy
        self.https = make_https(settings, network, state, haproxy.set_certificate)
        self.providers = make_providers(settings, network, state)
        self._make_sessions(network.variables() | settings.session.environment)
        self._make_launches(hardware)
        self.membership = Membership(settings.federation, state)
        self._make_record(network)
        self.upkeep = Upkeep(
            settings,
            state,
            machinery.shelf,
            UpkeepParts(self.builds, self.sessions, self._starting, self.record.history, [self._claimed]),
        )
        self.upkeep.measured_by(self.record.metrics.registry)
        self._backups = make_schedule(settings, network.ca_bundle)
        self.upkeep.bucket = care_for(settings, machinery.tier, state, network.ca_bundle)
        if self.https:
            watch_certificate(self.https, self._vitals, self.record.metrics)

    def _make_record(self, network: NetworkEnvironment) -> None:
        settings = self.settings
        self._vitals = Vitals(
            self._machinery.engine,
            self.router,
            state=self.state,
            min_free_disk=settings.builder.min_free_disk,
            free_disk=self._free_disk,
        )
        self.view = View(
            self.url,
            self.places,
            self.builds,
            self.book,
            self.sessions,
            self.keeper,
            self.hibernator,
            self.standbys,
            self._vitals,
            others=lambda: self.record.counting.checks(),  # noqa: PLW0108 - there is no record yet
        )
        self.record = Record(
            self.state,
            settings,
            self.view.status,
            {provider.id: provider.event_name for provider in self.providers.values()},
            ca_bundle=network.ca_bundle,
        )

    def _free_disk(self, path: Path) -> int:
        return self.upkeep.free(path)

    def _claimed(self) -> dict[str, str]:
        """Give the names of images that must stay, each with why."""
        claimed = dict.fromkeys(self.standbys.reservations.images(), "it is reserved")
        pusher = self._machinery.tier.pusher if self._machinery.tier else None
        return claimed | ({pusher.current: "it is being pushed"} if pusher and pusher.current else {})

    async def _names_here(self) -> list[str]:
        return [image.name for image in await self._machinery.images.all()]

    def _starting(self) -> int:
        return max(0, self.places.taken - len(self.sessions.settled()))

    def _make_sessions(self, environment: dict[str, str]) -> None:
        settings = self.settings
        self.standbys = Pool(
            self._machinery.engine,
            settings,
            self._sessions_tasks,
            state=self.state,
            crowd=self._crowd,
            prepare=lambda spec, host: prepare(self.book, spec, host or self.url),
            image_id=self._image_id,
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
        self.hibernator = make_hibernator(
            self._machinery.engine,
            settings,
            lambda: {**self.standbys.waiting(), **self.sessions.settled()},
            lambda: self.keeper.last_active,
            self._on_memory,
        )
        self.keeper = Keeper(
            self.sessions,
            self.router,
            settings.cull,
            state=self.state / "activity.json",
            computing=lambda: self.hibernator.computing,
        )
        self.endings = Endings(
            self.sessions.running,
            self.keeper.outlook,
            lambda: self.keeper.looked_at,
            warning=settings.cull.warning,
        )
        self.bus.listen(self.endings.tell)

    def _make_launches(self, hardware: Hardware) -> None:
        settings = self.settings
        self.builds = Builds(
            self.providers,
            self._machinery.builder,
            self._machinery.images,
            settings.builder,
            state=self.state,
            bus=self.bus,
            tasks=self._work,
            free_disk=self._free_disk,
        )
        self.places = Places(
            Admission(
                places=settings.limits.sessions or capacity(hardware, planned(settings.session.memory)).sessions,
                per_repository=settings.limits.per_repository,
                queue=settings.limits.queue,
            )
        )
        self.book = LaunchBook(
            Parts(
                self.providers,
                self._machinery.images,
                self.builds,
                self.places,
                self.sessions,
                self.bus,
                settings,
                pulls=self._machinery.tier.pulls if self._machinery.tier else None,
            ),
            self._work,
        )
        tell_viewers(self._machinery.engine, self.book)

    async def start(self, step: Step) -> None:
        """Bring everything up, in the order in which the parts need each other."""
        with contextlib.suppress(RouterUnavailable):
            self.took_over = bool(await self.router.ping())
        if self._machinery.tier is not None:
            step("Starting the image registry")
            await self._machinery.tier.start()
        step(f"Preparing the base image ({self._machinery.description})")
        parts = (self._machinery.builder, self.state / "base" / "log", self.tasks)
        if self.settings.builder_pods.namespace:
            self.tasks.start(prepare_meanwhile(*parts), name="prepare the builder")
        else:
            await prepare_builder(*parts, step)
        step("Preparing the sessions' network")
        await self._machinery.engine.prepare()
        step("Starting HAProxy")
        if self.https:
            await self.https.prepare()
        await self.router.prepare()
        step("Looking for what an earlier run left")
        await self.record.keep(self.bus, self.tasks)
        await asyncio.to_thread(self.membership.load)
        self.bus.listen(self.membership.listen)
        await self.standbys.load()
        await self.upkeep.housekeeper.load()
        await self._take_over()
        step("Starting the control plane")
        await self._listen()
        self._start_loops()
        await self._vitals.look()

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
            operations=Operations(self.view, self.sessions, self.keeper, self.stopping.set),
            pages=await asyncio.to_thread(
                Pages, self.settings, [provider.display for provider in self.providers.values()]
            ),
            build_token_secret=secret or await asyncio.to_thread(keep_secret, self.state / "build-token-secret"),
            status=self.view.status,
            metrics=self.record.render,
            build_log=self.builds.log_path,
            builds=self.view.builds,
            membership=self.membership,
            session_end=self.endings.of,
            desk=Desk(self.standbys, self.providers, self.settings.server.public_url, places=self.places.limit),
            challenges=webroot_of(self.state) if self.https else None,
            builder_info=self._machinery.builder.info,
            storage=self.upkeep,
            restorer=self._machinery.tier.restoration if self._machinery.tier else None,
            statistics=self.record.counting.shown,
            archive=self.record.counting.served,
        )
        self._front = Front(services, self._run_folder, self.record.metrics.observe_http)
        await self._front.start(self.tasks)

    def _start_loops(self) -> None:
        self._sessions_tasks.start(self.sessions.run(), name="watch sessions")
        self._sessions_tasks.start(self.keeper.run(), name="keeper")
        self._sessions_tasks.start(self.hibernator.run(), name="hibernator")
        self._sessions_tasks.start(self.standbys.run(), name="standbys")
        self.tasks.start(self._vitals.run(), name="vitals")
        if self.https:
            self.tasks.start(self.https.run(), name="certificate")
        if self._machinery.tier is not None:
            self._machinery.tier.busy = lambda: bool(self._crowd().starting or self.builds.running)
            self._machinery.tier.run(self.bus, self.record.metrics.registry, self._vitals.include)
        if guard := self._machinery.guard:
            self._vitals.include(guard.check)
            self.tasks.start(guard.run(), name="network rules")
        self.tasks.start(self.membership.run(), name="federation")
        self.tasks.start(self.upkeep.housekeeper.run(), name="housekeeper")
        if care := self.upkeep.bucket:
            care.here, care.claimed, care.pin_of = self._names_here, self._claimed, self.upkeep.pin_of
            self.record.metrics.registry.register(care)
            self.tasks.start(care.run(), name="bucket")
        if schedule := self._backups:
            self._vitals.include(lambda: backup_check(schedule, self.settings.backup.every))
            self.tasks.start(schedule.watch() if self.settings.system.backups else schedule.run(), name="backups")

    def _on_memory(self, sight: Sight) -> None:
        """Let in what memory allows, whatever places are free."""
        # Where sessions run on other machines, the cluster's scheduler knows what fits.
        machine = None if self.settings.engine.kind == "kubernetes" else sight.machine
        self.places.allow(None if machine is None else startable(machine, self.settings.session.memory))

    async def _image_id(self, name: str) -> str | None:
        found = await self._machinery.images.find(name)
        return found.id if found else None

    def _crowd(self) -> Crowd:
        places = self.places
        return Crowd(places.limit, places.taken, places.waiting, self._starting())

    async def stop(self, end: End) -> None:
        """End this process's part, and what else is to end. Errors are logged.

        After ``End.LEAVE`` launches and builds still go on: the process must end without cancelling them, so that
        they leave the sessions and build jobs that they began.
        """
        self.book.draining = True
        try:
            if self._front:
                await self._front.stop()
            await self.tasks.close()
            if self._machinery.tier is not None:
                await self._machinery.tier.close(end=end is End.ALL)
            await self._sessions_tasks.close()
            if end is not End.LEAVE:
                await self._end_work(end)
        finally:
            await self.membership.save()
            await self.standbys.close()
            await self.upkeep.housekeeper.close()
            await self.record.close()

    async def _end_work(self, end: End) -> None:
        await self._work.close()
        self.hibernator.close()
        if end is End.ALL:
            await self.standbys.end()
            await self._end_sessions()
            if self._machinery.guard:
                await self._machinery.guard.release()
        if end is End.ALL or not self.took_over:
            await self.router.shutdown()
        for provider in self.providers.values():
            await provider.close()
        await self.sessions.close()
        await self.router.close()
        await self._machinery.close()
        await self._machinery.engine.close()

    async def _end_sessions(self) -> None:
        ends = [self.sessions.stop(session_id, "service stopped") for session_id in self.sessions.running()]
        for error in await asyncio.gather(*ends, return_exceptions=True):
            if isinstance(error, BaseException):
                log.error("a session could not be ended", error=str(error))
