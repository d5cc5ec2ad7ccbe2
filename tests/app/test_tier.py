"""The second tier of images, put together; it does not need its storage to answer."""

from __future__ import annotations

import asyncio
import secrets
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from binderlet.app.tier import Tier
from binderlet.clients.docker import open_docker
from binderlet.config import Settings
from binderlet.config.schema import EngineSettings
from binderlet.errors import ImagesUnavailable, StorageFull
from binderlet.events.bus import Bus
from binderlet.events.kinds import BuildEnded, LaunchEnded
from binderlet.images.fake import FakeImages
from binderlet.images.pull_trust import BASE
from binderlet.images.transfer_record import Entry
from binderlet.model import Check
from support.engines import EngineApi, docker_socket
from support.eventually import eventually
from support.plain_registry import plain_registry
from support.ports import free_ports
from support.registry_images import build_image, has_image, remove_image
from support.registry_world import CONTENT, NAME
from support.values import COMMIT, SPEC

pytestmark = [pytest.mark.docker, pytest.mark.timeout(60)]
PEER = {"prefix": "http://127.0.0.1:9/binder/r2d-", "username": "u", "password": "p"}


def settings(**registry: Any) -> Settings:  # noqa: ANN401 - settings of any kind
    """A service with that registry."""
    return Settings.model_validate({"registry": registry, "builder": {"image_prefix": "binderlet/i-"}})


def nobody() -> str:
    """Where nobody listens."""
    return f"http://127.0.0.1:{free_ports(1)[0]}/"


class Rig:
    """Makes tiers on this machine's engine."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.images = FakeImages(CONTENT)
        self.tiers: list[Tier] = []

    def tier(self, chosen: Settings) -> Tier:
        """Make one."""
        self.tiers.append(Tier(chosen, self.docker, self.images, self.folder, None))
        return self.tiers[-1]

    async def open(self) -> None:
        """Reach the engine."""
        self.docker = await open_docker(EngineSettings())

    async def close(self) -> None:
        """Leave nothing."""
        for tier in self.tiers:
            await tier.close(end=True)
        await self.docker.close()


@pytest.fixture
async def rig() -> AsyncIterator[Rig]:
    """One of each; its folder's name is short, as a socket's path must be."""
    with tempfile.TemporaryDirectory(prefix="tier-") as folder:
        made = Rig(Path(folder))
        await made.open()
        yield made
        await made.close()


@pytest.mark.parametrize(
    ("registry", "wanted"),
    [({}, False), ({"url": "https://r.test/b/"}, True), ({"peers": [PEER]}, True)],
)
def test_only_what_is_asked_for(registry: dict[str, Any], *, wanted: bool) -> None:
    """Without a bucket, a registry or peers there is no second tier."""
    assert Tier.is_wanted(settings(**registry)) is wanted


async def test_storage_that_does_not_answer(rig: Rig) -> None:
    """With a bucket that does not answer the service starts, and says so; what is built is pushed later."""
    s3 = {"endpoint": nobody(), "bucket": "b", "access_key": "a", "secret_key": "s"}
    tier = rig.tier(settings(s3=s3))
    await tier.start()
    assert isinstance(tier.pulse.error, ImagesUnavailable)
    bus, metrics, checks = Bus(), CollectorRegistry(), list[Any]()
    tier.run(bus, metrics, checks.append)
    asked = asyncio.Event()

    async def named() -> None:
        asked.set()

    tier.named = named
    check: Check = checks[0]()
    assert (check.service, check.ok, check.ignore_failure) == ("Image registry", False, True)
    bus.tell(BuildEnded("b1", COMMIT, NAME, 50.0, 20.0, "success"))
    bus.tell(BuildEnded("b2", COMMIT, "binderlet/i-failed:1", 50.0, 20.0, "failure"))
    bus.tell(LaunchEnded("l1", SPEC, 60.0, 10.0, "success", commit=COMMIT))
    await eventually(lambda: tier.record.get(NAME).build_seconds == 30)
    assert asked.is_set(), "the environment may get its name only after the build"
    assert tier.record.get(NAME).launches == 1
    text = generate_latest(metrics).decode()
    assert "binderlet_registry_up 0.0" in text
    assert "binderlet_images_unpushed 1.0" in text
    await tier.close(end=False)
    assert tier.process is not None
    assert await asyncio.to_thread(tier.process.socket.is_socket), "the registry outlives this process"


async def test_an_existing_registry(rig: Rig) -> None:
    """An existing registry is used below its folder, with its credentials; peers are only read."""
    url = nobody()
    tier = rig.tier(settings(url=f"{url}some/folder/", username="u", password="p", peers=[PEER]))
    assert tier.process is None
    assert tier.upstream is not None
    assert (tier.upstream.folder, tier.upstream.client.url) == ("some/folder/", url)
    assert tier.gate.upstreams["p0"].throttle is None
    assert tier.gate.upstreams["p0"].client.url == "http://127.0.0.1:9/"
    assert tier._peers[0].prefix == "127.0.0.1:9/binder/r2d-"
    assert tier.registry is not None


async def test_what_somebody_waits_for(rig: Rig, tmp_path: Path) -> None:
    """It is pushed at once, below the registry's folder, however busy the machine is."""
    api = EngineApi(docker_socket())
    name = f"binderlet-test/tier-{secrets.token_hex(4)}:1"
    with plain_registry(tmp_path) as host:
        tier = rig.tier(settings(url=f"http://{host}/some/folder/", yield_rate=1))
        tier.busy = lambda: True
        await tier.start()
        try:
            await asyncio.to_thread(build_image, api, name)
            await tier.deliver(name)
            assert tier.upstream is not None
            assert await tier.upstream.client.manifest(f"some/folder/{name.removesuffix(':1')}", "1") is not None
        finally:
            await asyncio.to_thread(remove_image, api, name)


async def test_peers_alone(rig: Rig) -> None:
    """Peers are asked without a registry of one's own; then nothing is pushed, and there is nothing to check."""
    tier = rig.tier(settings(peers=[PEER | {"prefix": "peer.example.org/b/r2d-"}]))
    await tier.start()
    checks: list[Any] = []
    tier.run(Bus(), CollectorRegistry(), checks.append)
    assert (tier.registry, tier.pusher, tier.restoration, tier.parts, checks) == (None, None, None, None, [])
    assert tier.gate.upstreams["p0"].client.url == "https://peer.example.org/"
    assert "image_pushes" not in "".join(metric.name for metric in tier.collect())
    assert await tier._ask() == ""


async def test_what_health_says(rig: Rig) -> None:
    """All is well, something waits, or something is wrong, in words."""
    tier = rig.tier(settings(url=nobody()))
    assert tier.check().message == "not asked yet"
    assert tier.pusher is not None
    tier.pulse.succeeded("r.test answers")
    assert (tier.check().ok, tier.check().message) == (True, "r.test answers")
    tier.pusher.want(["a:1"])
    assert tier.check().message == "r.test answers; 1 images to push"
    full = StorageFull("The bucket is full.")
    tier.pusher.problem = f"{full.message} {full.hint}"
    assert not tier.check().ok
    assert "1 images are not pushed yet: The bucket is full." in tier.check().message
    assert not tier._is_busy()
    tier.busy = lambda: True
    assert tier._is_busy()


async def test_layers_and_left_over_names(rig: Rig) -> None:
    """Layers of the base that is here are known; names that a killed process left are taken off, the images stay."""
    api = EngineApi(docker_socket())
    tier = rig.tier(settings(url=nobody()))
    await tier.start()
    name = f"binderlet-test/tier-{secrets.token_hex(4)}:1"
    left = f"{tier.gate.address}/r/{name}"
    try:
        image_id = await asyncio.to_thread(build_image, api, name)
        await asyncio.to_thread(build_image, api, left, base=name)
        layers = await tier._layers({BASE: image_id, "binderlet.environment": "not-here"})
        assert len(layers) == 2
        assert await tier._layers({}) == frozenset()
        await tier._take_off_tags()
        assert not await asyncio.to_thread(has_image, api, left)
        assert await asyncio.to_thread(has_image, api, name)
    finally:
        await asyncio.to_thread(remove_image, api, left)
        await asyncio.to_thread(remove_image, api, name)


async def test_the_record_outlives(rig: Rig) -> None:
    """What is known of the registry is known to the next process."""
    tier = rig.tier(settings(url=nobody()))
    tier.record.put(Entry("a:1", "sha256:a"))
    await tier.close(end=True)
    again = rig.tier(settings(url=nobody()))
    await again.start()
    assert again.record.is_stored("a:1")
