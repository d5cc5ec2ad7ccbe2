"""Bad days: the real registry on a real bucket, with faults between them, and killed in the middle of things.

Whatever goes wrong, nothing counts as missing that is there, nothing wrong is taken, and it goes on by itself.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from binderlet.clients.docker import open_docker
from binderlet.config.schema import EngineSettings
from binderlet.errors import BinderletError, ImageRejected, ImagesUnavailable, StorageFull, StorageRefused
from binderlet.images import pull as pull_module
from binderlet.images import pull_choice
from binderlet.images.local import LocalImages
from binderlet.images.registry import oci
from binderlet.images.registry.distribution import RegistryProcess
from binderlet.images.registry.gate import Gate, Upstream
from binderlet.images.registry.oci import OciRegistry
from binderlet.images.registry.throttle import Throttle
from binderlet.images.transfer_record import Entry
from support.engines import EngineApi, docker_socket
from support.eventually import eventually
from support.fault_proxy import (
    EXPIRED,
    FULL,
    SERVICE_UNAVAILABLE,
    SKEWED,
    Corrupt,
    Fault,
    FaultProxy,
    Reset,
    Slow,
    fault_proxy,
)
from support.registry_images import build_image, has_image, names_of, remove_image
from support.registry_server import client_of, docker_registry
from support.registry_world import LABELS, World
from support.s3_server import S3Server
from support.values import COMMIT

pytestmark = [pytest.mark.docker, pytest.mark.timeout(240)]
SIZE = 600_000


class Rig:
    """A registry whose storage is behind a proxy, and an engine with one image of ours."""

    def __init__(self, proxy: FaultProxy, process: RegistryProcess, folder: Path) -> None:
        self.proxy = proxy
        self.process = process
        self.api = EngineApi(docker_socket())
        self.name = f"binderlet-test/faults-{secrets.token_hex(4)}:1"
        self.throttle = Throttle(0, 1, lambda: False)
        self.client = client_of(process)
        self.gate = Gate({"r": Upstream(self.client, "", self.throttle)}, folder / "port")

    async def start(self) -> None:
        """Build the image, and open the way to the registry."""
        self.image_id = await asyncio.to_thread(build_image, self.api, self.name, LABELS, size=SIZE)
        await self.gate.start()
        self.docker = await open_docker(EngineSettings())
        self.registry = OciRegistry(self.client, self.docker, self.gate, "r")

    async def stop(self) -> None:
        """Leave nothing."""
        await self.forget()
        await self.registry.close()
        await self.gate.close()
        await self.docker.close()

    async def forget(self) -> None:
        """Remove the image from the engine."""
        await asyncio.to_thread(remove_image, self.api, self.name)

    async def is_here(self) -> bool:
        """Whether the engine has the image."""
        return await asyncio.to_thread(has_image, self.api, self.name)

    async def kill(self) -> None:
        """Kill the registry, as a machine out of memory would."""
        running = await asyncio.to_thread(self.process._process)
        assert running is not None
        running.kill()


@pytest.fixture
async def rig(s3: S3Server, tmp_path: Path) -> AsyncIterator[Rig]:
    """One of each."""
    async with fault_proxy(s3.endpoint, s3.ca_bundle) as proxy:
        settings = s3.settings(s3.make_bucket(), endpoint=proxy.url)
        async with docker_registry(s3, settings) as process:
            made = Rig(proxy, process, tmp_path)
            await made.start()
            yield made
            await made.stop()


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        (SERVICE_UNAVAILABLE, ImagesUnavailable),
        (Reset(), ImagesUnavailable),
        (EXPIRED, StorageRefused),
        (SKEWED, StorageRefused),
        (FULL, StorageFull),
    ],
    ids=["503", "reset", "expired", "skew", "full"],
)
async def test_a_storage_that_fails(
    rig: Rig, fault: Fault, kind: type[BinderletError], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pushes fail with the reason, nothing counts as missing, and all is well once the storage is."""
    monkeypatch.setattr(oci, "STUCK", 1.0)
    rig.proxy.inject(fault, only="PUT POST" if fault is FULL else "")
    if fault is not SERVICE_UNAVAILABLE:  # the registry tries that again for seconds each time: once is enough
        with pytest.raises(kind):
            await rig.registry.push(rig.name)
    if fault is not FULL:
        with pytest.raises(kind):
            await rig.registry.find(rig.name)
    assert rig.proxy.hits > 0
    rig.proxy.inject(None)
    assert (await rig.registry.push(rig.name)).image_id == rig.image_id
    assert await asyncio.to_thread(names_of, rig.api, rig.image_id) == [rig.name]


async def test_wrong_bytes_are_not_taken(rig: Rig) -> None:
    """A layer with one wrong byte is rejected, the engine keeps nothing of it, and the right one is taken later."""
    remote = await rig.registry.push(rig.name)
    await rig.forget()
    rig.proxy.inject(Corrupt(), only="GET")
    with pytest.raises(ImageRejected):
        await rig.registry.pull(remote, rig.name, lambda _: None)
    assert rig.proxy.hits > 0
    assert not await rig.is_here()
    rig.proxy.inject(None)
    assert (await rig.registry.pull(remote, rig.name, lambda _: None)).id == rig.image_id


async def test_a_connection_that_breaks_in_the_middle(rig: Rig) -> None:
    """A pull whose connection breaks once goes on by itself."""
    remote = await rig.registry.push(rig.name)
    await rig.forget()
    rig.proxy.inject(Reset(after=100_000), only="GET", times=1)
    rig.proxy.only = _blobs
    assert (await rig.registry.pull(remote, rig.name, lambda _: None)).id == rig.image_id
    assert rig.proxy.hits == 1


def _blobs(request: object) -> bool:
    """Whether a request is for a layer's bytes."""
    return getattr(request, "method", "") == "GET" and str(getattr(request, "path", "")).endswith("/data")


async def test_killed_in_the_middle_of_a_push(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """A registry that is killed in the middle of a push loses nothing: started again, the push gets to its end."""
    monkeypatch.setattr(oci, "STUCK", 1.0)
    rig.throttle._rate = SIZE // 4
    pushing = asyncio.ensure_future(rig.registry.push(rig.name))  # noqa: TID251 - awaited below
    await eventually(lambda: rig.throttle.sent > SIZE // 4, seconds=60)
    await rig.kill()
    with pytest.raises(ImagesUnavailable):
        await pushing
    assert await rig.is_here()
    await rig.process.ensure()
    assert await rig.registry.find(rig.name) is None
    rig.throttle._rate = 0
    pushed = await rig.registry.push(rig.name)
    assert pushed.image_id == rig.image_id
    before = rig.throttle.sent
    await rig.registry.push(rig.name)
    assert rig.throttle.sent - before < SIZE // 2, "layers that are there are not sent again"


async def test_killed_in_the_middle_of_a_pull(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """A registry that is killed in the middle of a pull and started again delays it, no more."""
    monkeypatch.setattr(oci, "STUCK", 60.0)  # starting it again takes what it takes
    remote = await rig.registry.push(rig.name)
    await rig.forget()
    rig.proxy.inject(Slow(SIZE // 3), only="GET")
    pulling = asyncio.ensure_future(rig.registry.pull(remote, rig.name, lambda _: None))  # noqa: TID251 - awaited below
    await eventually(lambda: rig.gate.upstreams["r"].received > SIZE // 4, seconds=60)
    await rig.kill()
    await rig.process.ensure()
    rig.proxy.inject(None)
    assert (await pulling).id == rig.image_id


async def test_a_slow_storage(rig: Rig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A pull that would take much longer than a build is given up for it."""
    monkeypatch.setattr(pull_choice, "GRACE", 0.5)
    monkeypatch.setattr(pull_module, "TELL_EVERY", 0.1)
    await rig.registry.push(rig.name)
    await rig.forget()
    rig.proxy.inject(Slow(20_000), only="GET")
    rig.proxy.only = _blobs
    world = World(tmp_path)
    world.record.put(Entry(rig.name, build_seconds=5))
    images = LocalImages(rig.docker)
    pulls = world.make_pulls(rig.registry, images)
    pull = pulls.join(replace(COMMIT), rig.name)
    assert await pull.result() is None
    assert pulls.counts.built_instead == 1
    assert not await rig.is_here()
    await world.tasks.close()
    await images.close()
