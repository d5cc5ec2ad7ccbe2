"""Runs this control plane as one of several: it carries visitors all the time, and decides while it leads.

What it leads with is a whole ``Service``. One that must stop leading ends this process at once, as a crash would: the
next control plane finds everything in the cluster, and whoever runs this one starts it again.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import os
import socket
import sys
import time
from collections.abc import Callable, Collection
from pathlib import Path

import structlog

from binderlet.api.server import UnixServer
from binderlet.app.front import visitors_url
from binderlet.app.kubernetes import kubernetes_machinery
from binderlet.app.router import proxies_of
from binderlet.app.run import Handle
from binderlet.app.service import End, Service, Step
from binderlet.clients.kubernetes import KubernetesClient
from binderlet.clients.kubernetes_access import find_access
from binderlet.clients.memory import read_hardware
from binderlet.config import Settings
from binderlet.config.network import NetworkEnvironment
from binderlet.engine.base import Engine
from binderlet.engine.kubernetes import KubernetesEngine
from binderlet.engine.kubernetes_pods import PodMirror
from binderlet.engine.kubernetes_spec import selector
from binderlet.errors import BinderletError, ConfigError
from binderlet.pair.door import Door
from binderlet.pair.elector import Elector
from binderlet.pair.follow import not_announced
from binderlet.pair.follower import Follower
from binderlet.pair.lease import Candidate
from binderlet.pair.peers import Peers, by_address, by_labels
from binderlet.pair.router import PairRouter
from binderlet.router.config import LEADER, PAIR_SOCKET, Others
from binderlet.router.haproxy import HAProxyRouter
from binderlet.sessions.adoptions import Adoption, AdoptionFiles
from binderlet.tasks import Tasks

log = structlog.get_logger(__name__)

Vanish = Callable[[int], None]
"""Ends this process at once with an exit code."""


def vanish(code: int) -> None:
    """End this process at once, so that nothing that goes on in it is undone."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def name_of(settings: Settings) -> str:
    """Give this one's name among the others."""
    return settings.pair.identity or socket.gethostname()


def check(settings: Settings) -> None:
    """See that several control planes can work with these settings.

    Raises:
        ConfigError: they cannot.
    """
    if settings.engine.kind != "kubernetes":
        raise ConfigError('pair.lease: several control planes need sessions in a cluster: engine.kind = "kubernetes".')
    if not settings.security.build_token_secret.get_secret_value():
        raise ConfigError(
            "security.build_token_secret: several control planes must have the same one.",
            hint="'openssl rand -hex 32' makes one.",
        )
    if settings.https.mode != "off":
        raise ConfigError(
            "https.mode: several control planes share no certificate.",
            hint="Set it to off, and let a load balancer or an ingress in front of them end TLS.",
        )


def secret_of(settings: Settings) -> str:
    """Give the word by which the HAProxies of a pair know each other: the same wherever the settings are."""
    key = settings.security.build_token_secret.get_secret_value().encode()
    return hmac.new(key, b"binderlet pair", hashlib.sha256).hexdigest()


class Pair:
    """This control plane among the others: ``start``, then ``run``, then ``leave``."""

    def __init__(
        self, settings: Settings, network: NetworkEnvironment, state: Path, client: KubernetesClient, namespace: str
    ) -> None:
        self._settings, self._network, self._state, self._client = settings, network, state, client
        pair, secret = settings.pair, secret_of(settings)
        self.name = name_of(settings)
        address = f"{pair.address or socket.gethostbyname(socket.gethostname())}:{pair.port}"
        self.router = HAProxyRouter(
            settings.server,
            state,
            state / "run" / "control.sock",
            title=settings.pages.title,
            others=Others(pair.port, secret),
            proxies=proxies_of(settings),
            beside=pair.haproxy == "beside",
        )
        candidate = Candidate(self.name, address, pair.lease_for)
        self.elector = Elector(client, candidate, pair.lease, namespace, every=pair.renew_every)
        labels = by_labels(client, namespace, settings.server.instance, me=self.name, port=pair.port)
        self._peers = Peers(by_address(pair.peers) if pair.peers else labels, secret)
        self._door = Door(self.router, state)
        self._server = UnixServer(self._door.app, state / "run" / PAIR_SOCKET, mode=0o666, shutdown_timeout=1)
        self._tasks = Tasks("pair")
        self._service: Service | None = None
        self._found_routes: frozenset[str] = frozenset()
        self.stopping = asyncio.Event()
        """Set when this one is asked to leave."""

    async def start(self, step: Step) -> None:
        """Have HAProxy lead visitors to all sessions, and stand as a candidate."""
        step("Starting HAProxy")
        await self.router.prepare()
        self._found_routes = frozenset(await self.router.routes())
        await self._server.start(self._tasks)

    async def run(self, on_ready: Callable[[], None], step: Step) -> None:
        """Follow until this one leads, then lead, until it is asked to leave."""
        path = f"api/v1/namespaces/{self._client.access.namespace}/pods"
        mirror = PodMirror(self._client, path, selector(self._settings.server.instance))
        elector = self.elector
        follower = Follower(
            mirror,
            self.router,
            self._peers,
            self._state,
            leader=lambda: elector.candidate.leader,
            news=elector.looked,
        )
        following = self._tasks.start(follower.run(), name="follow")
        step("Finding all sessions")
        await self._unless_stopping(follower.ready)
        self._tasks.start(elector.run(), name="elect")
        on_ready()
        await self._unless_stopping(elector.won)
        if self.stopping.is_set():
            return
        self._tasks.start(self._watch_lease(), name="lease")
        following.cancel()
        await asyncio.wait({following})
        # Who led until now knows by its own HAProxy which sessions it had led visitors to.
        announced = self._found_routes if elector.candidate.before == self.name else follower.announced
        timeout = self._settings.session.start_timeout
        cut_off = not_announced(follower.sessions, announced, time.time(), timeout)
        await mirror.close()
        await self._lead(cut_off, step)

    async def _unless_stopping(self, happened: asyncio.Event) -> None:
        waits = [self._tasks.start(event.wait(), name="wait") for event in (happened, self.stopping)]
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        for wait in waits:
            wait.cancel()

    async def _lead(self, cut_off: Collection[str], step: Step) -> None:
        machinery = await kubernetes_machinery(self._settings, self._network, self._state)
        if isinstance(machinery.engine, KubernetesEngine):
            machinery.engine.guard(self.elector.fence)
        if self.elector.candidate.before != self.name:
            await keep_standbys(machinery.engine, AdoptionFiles(self._state / "standby" / "adopted"))
        router = PairRouter(self.router, self._peers, cut_off)
        await self.router.note(LEADER, "")
        hardware = await asyncio.to_thread(read_hardware)
        self._service = Service(self._settings, machinery, self._network, self._state, hardware, router=router)
        await self._service.start(step)
        self._door.leading = router
        await self._unless_stopping(self._service.stopping)

    async def _watch_lease(self) -> None:
        await self.elector.until_lost()
        if not self.elector.candidate.is_leaving:
            log.error("this control plane could not keep the Lease: it ends, and another one leads")
            vanish(1)

    async def leave(self) -> None:
        """Decide no more, then let another lead at once. The process must then end without cancelling anything."""
        try:
            if self._service is not None:
                await self._service.stop(End.LEAVE)
        finally:
            await self.elector.give_back()

    async def close(self) -> None:
        """Give back what the end of the process would."""
        await self._server.stop()
        await self._tasks.close()
        await self._peers.close()
        await self._client.close()


async def keep_standbys(engine: Engine, files: AdoptionFiles) -> None:
    """Hand out no standby that an earlier leader started: whether it was adopted is not known, so it counts as such.

    Raises:
        EngineUnavailable: the engine does not answer.
    """
    known = await asyncio.to_thread(files.load)
    for session in await engine.list():
        if session.standby and session.id not in known:
            adoption = Adoption(session.launch_id or f"standby-{session.id}", session.created_at)
            await asyncio.to_thread(files.save, session.id, adoption)


async def serve_pair(
    settings: Settings,
    network: NetworkEnvironment,
    state: Path,
    ready: Callable[[Handle], None],
    step: Step,
    *,
    end: Vanish = vanish,
) -> None:
    """Be one of several control planes until asked to leave, or cancelled; both leave sessions and HAProxy alone.

    Then, and when it cannot go on, it ends this process by ``end``.

    Raises:
        BinderletError: it could not begin.
    """
    check(settings)
    access = await asyncio.to_thread(find_access, settings.kubernetes)
    elsewhere = settings.kubernetes.model_copy(update={"namespace": settings.pair.namespace})
    namespace = (await asyncio.to_thread(find_access, elsewhere)).namespace
    pair = Pair(settings, network, state, KubernetesClient(access), namespace)
    try:
        await pair.start(step)
    except BaseException:
        await pair.close()
        raise
    code = 0
    try:
        await pair.run(lambda: ready(Handle(visitors_url(settings.server), pair.stopping.set)), step)
    except BinderletError as error:
        log.error("this control plane cannot lead", error=error.message, hint=error.hint)  # noqa: TRY400 - no traceback
        code = 1
    except Exception:
        log.exception("this control plane broke")
        code = 1
    finally:
        try:
            await pair.leave()
            end(code)
        finally:
            await pair.close()
