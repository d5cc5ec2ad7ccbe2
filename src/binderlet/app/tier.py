"""The second tier of images: its registry, the peers', and who pushes to and pulls from them."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Awaitable, Callable, Iterable, Mapping
from pathlib import Path
from urllib.parse import quote, urlsplit

import structlog
from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric

from binderlet.clients.docker import DockerClient, engine_errors
from binderlet.clients.oci import OciClient
from binderlet.config import Settings
from binderlet.config.network import network_environment, read_text
from binderlet.config.registry import PeerSettings, RegistrySettings
from binderlet.errors import BinderletError, ConfigError
from binderlet.events.bus import Bus
from binderlet.events.kinds import BuildEnded, Fact, LaunchEnded
from binderlet.images.base import ImageStore
from binderlet.images.names import image_name
from binderlet.images.pull import Peer, Pulls
from binderlet.images.pull_parts import Parts
from binderlet.images.pull_restore import Restoration
from binderlet.images.pull_trust import BASE
from binderlet.images.registry.base import Registry
from binderlet.images.registry.distribution import RegistryProcess
from binderlet.images.registry.gate import Gate, Upstream
from binderlet.images.registry.oci import OciRegistry
from binderlet.images.registry.pulse import Pulse
from binderlet.images.registry.throttle import Throttle
from binderlet.images.registry.unit import RegistryUnit
from binderlet.images.transfer import Names, Pusher, environment_name
from binderlet.images.transfer_record import Record
from binderlet.model import Check
from binderlet.tasks import Tasks

log = structlog.get_logger(__name__)

OWN = "r"
"""The service's own registry at the gate."""
AT_ONCE = "now"
"""The same, for what somebody waits for."""


class Tier:
    """Everything of the second tier: ``start`` before the builder is prepared, ``run`` once the bus is there."""

    def __init__(
        self, settings: Settings, docker: DockerClient, images: ImageStore, state: Path, ca_bundle: Path | None
    ) -> None:
        own = settings.registry
        folder = state / "registry"
        self.settings = own
        self.record = Record(folder / "record.json")
        self.busy: Callable[[], bool] = lambda: False
        """Whether somebody waits for this machine; pushing then yields."""
        self.named: Callable[[], Awaitable[None]] = _nothing
        """Returns once all that was built has its names."""
        self.tasks = Tasks("registry")
        self.process = registry_process(settings, state, ca_bundle)
        self.throttle = Throttle(own.push_rate, own.yield_rate, self._is_busy)
        self._prefix = settings.builder.image_prefix
        self._docker = docker
        self._images = images
        upstreams: dict[str, Upstream] = {}
        self.gate = Gate(upstreams, folder / "gate-port")
        self.upstream: Upstream | None = None
        self.registry: Registry | None = None
        if own.is_on:
            self.upstream = upstreams[OWN] = _own_upstream(own, self.process, ca_bundle, self.throttle)
            client, place = self.upstream.client, self.upstream.folder
            self.registry = OciRegistry(client, docker, self.gate, OWN, folder=place)
            upstreams[AT_ONCE] = Upstream(client, place, Throttle(0, 1, lambda: False))
            self._at_once = OciRegistry(client, docker, self.gate, AT_ONCE, folder=place)
        revive = self.process.ensure if self.process else None
        self.pulse = Pulse(self._ask, revive=revive)
        self._peers = [self._peer(f"p{number}", peer, upstreams, ca_bundle) for number, peer in enumerate(own.peers)]
        self.names = Names(self._prefix)
        self.pulls = Pulls(
            self.registry,
            self.pulse,
            self.record,
            images,
            settings=own,
            tasks=self.tasks,
            peers=self._peers,
            layers=self._layers,
        )
        self.parts = Parts(self.registry, self.pulse, self.record, images, self.pulls.rate) if self.registry else None
        self.pusher = (
            Pusher(
                self.registry,
                self.pulse,
                self.record,
                here=images.all,
                names=self.names,
                instance=settings.server.instance,
                enabled=own.push,
            )
            if self.registry
            else None
        )
        self.restoration = (
            Restoration(self.registry, self.record, images, self.tasks, prefix=self._prefix, learn=self.pusher.learn)
            if self.registry and self.pusher
            else None
        )

    @staticmethod
    def is_wanted(settings: Settings) -> bool:
        """Whether there is a registry to push to, or a peer's to pull from."""
        return settings.registry.is_on or bool(settings.registry.peers)

    async def start(self) -> None:
        """Bring up the registry and the way to it; one whose storage does not answer is no error.

        Raises:
            MissingProgram: docker-registry is needed and not installed.
            ImagesUnavailable: it does not start.
        """
        if self.process is not None:
            await self.process.ensure()
        await self.gate.start()
        await self.record.load()
        await self._take_off_tags()
        if self.registry is not None:
            await self.pulse.look()

    async def deliver(self, name: str) -> None:
        """Push an image that somebody waits for, at full speed; what is there already costs a look at its layers.

        Raises:
            BinderletError: as ``Registry.push``.
        """
        await self._at_once.push(name)

    def run(self, bus: Bus, metrics: CollectorRegistry, include: Callable[[Callable[[], Check]], None]) -> None:
        """Push what is built from now on, and what is here already; ``include`` takes what goes to ``/health``."""
        metrics.register(self)
        if self.registry is None:
            return
        include(self.check)
        bus.listen(self._listen)
        self.tasks.start(self.pulse.run(), name="pulse")
        if self.pusher is not None:
            self.tasks.start(self.pusher.run(), name="push")

    def check(self) -> Check:
        """Say how the registry is, from memory; the service can do without it."""
        error, pusher = self.pulse.error, self.pusher
        waiting = len(pusher.waiting) + bool(pusher.current) if pusher else 0
        if error is not None:
            message = f"{error.message} {error.hint}"
        elif pusher is not None and pusher.problem:
            message = f"{waiting} images are not pushed yet: {pusher.problem}"
        else:
            words = self.pulse.words or "not asked yet"
            message = f"{words}; {waiting} images to push" if waiting else words
        ok = error is None and not (pusher and pusher.problem)
        return Check("Image registry", ok, message, ignore_failure=True)

    async def close(self, *, end: bool) -> None:
        """Stop pushing and pulling; with ``end`` the registry, too."""
        await self.tasks.close()
        await self.record.save()
        await self.gate.close()
        for registry in (self.registry, *(peer.registry for peer in self._peers)):
            if registry is not None:
                await registry.close()
        if end and self.process is not None:
            await self.process.end()

    def collect(self) -> Iterable[Metric]:
        """Give the metrics as Prometheus' client asks for them."""
        pulls = self.pulls.counts
        yield _counter(
            "image_pulls",
            "Images pulled, by where from.",
            "source",
            {"registry": pulls.pulled - pulls.peers, "peer": pulls.peers},
        )
        yield _counter(
            "image_pulls_refused",
            "Images not pulled although a registry has them, by reason.",
            "reason",
            {"rejected": pulls.rejected, "build_is_quicker": pulls.built_instead},
        )
        yield _counter(
            "images_rebuilt",
            "Images built because the registry that may have them did not answer.",
            "",
            {"": pulls.rebuilt},
        )
        received = sum(upstream.received for upstream in self.gate.upstreams.values())
        yield _counter(
            "registry_bytes",
            "Bytes moved to and from registries.",
            "direction",
            {"sent": self.throttle.sent, "received": received},
        )
        yield _counter(
            "registry_requests",
            "Calls made to registries.",
            "",
            {"": sum(client.requests for client in {each.client for each in self.gate.upstreams.values()})},
        )
        if self.pusher is not None:
            pushed = self.pusher.counts
            yield _counter(
                "image_pushes",
                "Images pushed, by outcome.",
                "outcome",
                {"pushed": pushed.pushed, "there_already": pushed.found, "failed": pushed.failed},
            )
            yield GaugeMetricFamily(
                "binderlet_images_unpushed", "Images that wait to be pushed.", len(self.pusher.waiting)
            )
            yield GaugeMetricFamily(
                "binderlet_registry_up", "Whether the image registry answers.", self.pulse.down_since is None
            )

    def _is_busy(self) -> bool:
        return self.busy()

    async def _ask(self) -> str:
        return await self.registry.ping() if self.registry else ""

    def _listen(self, fact: Fact) -> None:
        if isinstance(fact, BuildEnded) and fact.status == "success" and self.pusher is not None:
            seconds = fact.at - fact.started_at
            self.tasks.start(self._built(self.pusher, fact.image, seconds), name=f"note {fact.image}")
        elif isinstance(fact, LaunchEnded) and fact.status == "success" and fact.commit and not fact.build_only:
            self.record.launched(image_name(self._prefix, fact.commit.slug, fact.commit.sha), fact.at)

    async def _built(self, pusher: Pusher, image: str, seconds: float) -> None:
        """Have an image pushed, whose environment may get its name only now."""
        await self.named()
        await self._images.refresh()
        await pusher.built(image, seconds)

    async def _layers(self, labels: Mapping[str, str]) -> frozenset[str]:
        """Give the layers of the environment and of the base of an image, as far as they are here."""
        found: set[str] = set()
        for image in (environment_name(labels, self.names), labels.get(BASE, "")):
            if image:
                with contextlib.suppress(BinderletError), engine_errors():
                    told = await self._docker.call("GET", f"images/{quote(image)}/json")
                    found |= set(told["RootFS"]["Layers"])
        return frozenset(found)

    async def _take_off_tags(self) -> None:
        """Take off the names that an earlier process gave to what it was pushing or pulling when it was killed."""
        with contextlib.suppress(BinderletError), engine_errors():
            listed = await self._docker.call("GET", "images/json")
            names = [name for each in listed for kind in ("RepoTags", "RepoDigests") for name in each.get(kind) or ()]
            for name in names:
                if name.startswith(f"{self.gate.address}/"):
                    await self._docker.call("DELETE", f"images/{quote(name)}", params={"noprune": "1"})

    def _peer(self, key: str, peer: PeerSettings, upstreams: dict[str, Upstream], ca_bundle: Path | None) -> Peer:
        scheme, separator, rest = peer.prefix.partition("://")
        prefix = rest if separator else peer.prefix
        url = f"{scheme if separator else 'https'}://{prefix.partition('/')[0]}/"
        client = OciClient(url, username=peer.username, password=peer.password.get_secret_value(), ca_bundle=ca_bundle)
        upstreams[key] = Upstream(client)
        return Peer(OciRegistry(client, self._docker, self.gate, key), prefix)


def registry_process(settings: Settings, state: Path, ca_bundle: Path | None) -> RegistryProcess | None:
    """Give the registry on object storage; None where there is none."""
    if not settings.registry.s3.endpoint:
        return None
    kind = RegistryUnit if settings.system.registry else RegistryProcess
    return kind(state / "registry", settings.registry.s3, ca_bundle=ca_bundle)


def _own_upstream(
    settings: RegistrySettings, process: RegistryProcess | None, ca_bundle: Path | None, throttle: Throttle
) -> Upstream:
    if process is not None:
        client = OciClient("http://registry/", socket=process.socket, reason=process.storage_says)
        return Upstream(client, throttle=throttle)
    parts = urlsplit(settings.url)
    client = OciClient(
        f"{parts.scheme}://{parts.netloc}/",
        username=settings.username,
        password=settings.password.get_secret_value(),
        ca_bundle=ca_bundle,
    )
    return Upstream(client, parts.path.lstrip("/"), throttle)


def _counter(name: str, text: str, label: str, values: Mapping[str, float]) -> CounterMetricFamily:
    family = CounterMetricFamily(f"binderlet_{name}", text, labels=[label] if label else [])
    for value, number in values.items():
        family.add_metric([value] if label else [], number)
    return family


async def _nothing() -> None:
    """Return at once."""


async def write_registry_files(settings: Settings) -> None:
    """Write what the registry starts with.

    Raises:
        ConfigError: the settings name no object storage.
    """
    state = await asyncio.to_thread(settings.paths.state.resolve)
    network = await asyncio.to_thread(network_environment, settings.network, os.environ, read_text)
    process = registry_process(settings, state, network.ca_bundle)
    if process is None:
        raise ConfigError("registry.s3.endpoint: no object storage is set.", hint="Set it, or disable the unit.")
    await asyncio.to_thread(process.write_config)
