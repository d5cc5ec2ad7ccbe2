"""What the control plane starts in a builder pod for each build: takes the order and the checkout, builds, pushes.

It may end at any time, with the connection or by itself: the build's own process goes on, and the next worker that
gets the same order follows it. One worker at a time: the pod's limits are the build's.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import shutil
import socket
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Coroutine
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import structlog

from binderlet.builder import base_recipe
from binderlet.builder.base import BuildRequest
from binderlet.builder.base_image import BaseImages
from binderlet.builder.buildkit import BuildKitBuilder
from binderlet.builder.cluster import keeper
from binderlet.builder.cluster.checkout import unpack
from binderlet.builder.cluster.messages import (
    ALIVE_EVERY,
    CANCEL,
    Alive,
    Anew,
    Built,
    Busy,
    Failed,
    Line,
    Message,
    Order,
    decode_order,
    encode,
)
from binderlet.builder.cluster.store import Store
from binderlet.builder.diagnose import end_error
from binderlet.builder.environments import ENVIRONMENT_IMAGE
from binderlet.builder.job import Job
from binderlet.builder.keys import job_key
from binderlet.builder.plan import Kind, Plan
from binderlet.builder.steps import written
from binderlet.builder.toolchain import choose_toolchain
from binderlet.clients.docker import open_docker
from binderlet.config.network import NetworkEnvironment, read_text
from binderlet.config.schema import EngineSettings
from binderlet.errors import BinderletError
from binderlet.events.buildlog import BuildLog
from binderlet.images.local import LocalImages
from binderlet.model import Image, Phase
from binderlet.tasks import Tasks

LIMIT_VARIABLE = "BINDERLET_CACHE_BYTES"
"""Bytes that the pod may keep in ``keeper.CACHE``; the chart sets it. 0 or absent: no limit of its own."""
FULL_AT, EMPTIED_TO = 0.7, 0.5
"""Parts of that at which environments are removed, and how far."""
MEASURE_EVERY = 2.0
SYSTEM_BUNDLE = Path("/etc/ssl/certs/ca-certificates.crt")

Say = Callable[[Message], None]


@dataclass(frozen=True, slots=True)
class Place:
    """Where a worker finds what it needs."""

    cache: Path = keeper.CACHE
    run: Path = keeper.RUN
    socket: str = str(keeper.SOCKET)
    bundle: Path = SYSTEM_BUNDLE

    @property
    def state(self) -> Path:
        """The builder's folder."""
        return self.cache / "state"

    @property
    def layers(self) -> Path:
        """Where Podman keeps the layers of images, one folder each."""
        return self.cache / "storage" / "overlay"


async def read_frame(reader: asyncio.StreamReader) -> bytes:
    """Read one frame.

    Raises:
        asyncio.IncompleteReadError: the connection is lost.
    """
    return await reader.readexactly(int.from_bytes(await reader.readexactly(4), "big"))


class Worker:
    """One order, carried out."""

    def __init__(self, reader: asyncio.StreamReader, say: Say, place: Place, leave: Callable[[], None]) -> None:
        self._reader = reader
        self._say = say
        self._place = place
        self._leave = leave
        self._tasks = Tasks("worker")

    async def run(self) -> None:
        """Take the order and carry it out; how that ends is said. Once the connection is lost, ``leave`` is called.

        Raises:
            asyncio.IncompleteReadError: the connection was lost before there was anything to do.
        """
        try:
            order = decode_order(await read_frame(self._reader))
            lock = await asyncio.to_thread(_take, self._place, order.image)
            if lock is None:
                self._say(Busy())
                return
            try:
                await self._serve(order)
            finally:
                os.close(lock)
        except BinderletError as error:
            self._say(Failed(error))
        finally:
            await self._tasks.close()

    async def _serve(self, order: Order) -> None:
        self._tasks.start(self._tick(), name="signs of life")
        key = job_key(order.image)
        checkout = await self._unpack(key)
        listening = self._tasks.start(self._listen(), name="listen")
        working = self._tasks.start(_outcome(self._work(order, checkout)), name="build")
        await asyncio.wait({listening, working}, return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            if listening.exception() is not None:
                self._leave()  # at once: cancelling would end the build
            working.cancel()
            await asyncio.wait({working})
        await asyncio.to_thread(_clear, self._place.cache / "work", key)
        if not working.cancelled() and (error := working.result()) is not None:
            raise error

    async def _listen(self) -> None:
        """Return when the build is to be given up."""
        while await read_frame(self._reader) != CANCEL:
            pass

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(ALIVE_EVERY)
            self._say(Alive())

    async def _unpack(self, key: str) -> Path:
        """Write the checkout that is coming into a folder of its own: an earlier one may still be read by its build."""
        work = self._place.cache / "work"
        folder = Path(await asyncio.to_thread(tempfile.mkdtemp, prefix=f"{key}-", dir=work))
        await unpack(partial(read_frame, self._reader), folder, socket.gethostname())
        return folder

    async def _work(self, order: Order, checkout: Path) -> None:
        work = self._place.cache / "work"
        build_log = BuildLog(work / f"{job_key(order.image)}.log", limit=order.settings.log_limit)
        seen = order.seen if await asyncio.to_thread(build_log.path.exists) else 0
        if order.seen and not seen:
            self._say(Anew())  # this is another pod of that name, or its cache is gone
        if not seen:
            await asyncio.to_thread(build_log.path.unlink, missing_ok=True)
        pump = self._tasks.start(self._pump(build_log, seen), name="log")
        try:
            async with self._builder(order) as (builder, base, store):
                image = await self._build(order, checkout, builder, store, build_log)
                found = await base.kept()
                build_log.finish()
                await pump
                bases = {each.python: each.id for each in found if each.is_current and each.python}
                self._say(Built(image, bases))
                await self._tidy(order, image, [each.name for each in found if each.is_current and each.python], store)
        finally:
            build_log.finish()
            await asyncio.wait({pump})

    async def _pump(self, build_log: BuildLog, seen: int) -> None:
        async for event in build_log.follow():
            seen -= 1
            if seen < 0:
                self._say(Line(event.message.rstrip("\n"), event.phase or Phase.BUILDING))

    @contextlib.asynccontextmanager
    async def _builder(self, order: Order) -> AsyncIterator[tuple[BuildKitBuilder, BaseImages, Store]]:
        """Put the same builder together that a machine with Podman has."""
        place, settings = self._place, order.settings
        network = await asyncio.to_thread(network_here, order, place)
        store = Store(order.shelf, place.state)
        if settings.base_image:
            await store.have(settings.base_image)
        async with await open_docker(EngineSettings(socket=place.socket)) as docker:
            tools = await choose_toolchain(engine_is_podman=True)
            images = LocalImages(docker)
            base = BaseImages(docker, settings, network, tools, place.state / "base", bring=store.bring)
            builder = BuildKitBuilder(
                settings, network, toolchain=tools, base=base, images=images, state=place.state, bring=store.bring
            )
            yield builder, base, store
            await builder.close()

    async def _build(
        self, order: Order, checkout: Path, builder: BuildKitBuilder, store: Store, build_log: BuildLog
    ) -> Image | None:
        if order.commit is None:
            await builder.prepare(build_log)
            return None
        request = BuildRequest(order.commit, checkout, order.image, order.lock, order.refresh)
        image: Image | None = None

        async def build() -> None:
            nonlocal image
            image = await builder.build(request, build_log)

        building = self._tasks.start(_outcome(build()), name="the build itself")
        watching = self._tasks.start(self._watch_disk(order.settings.disk_limit), name="disk")
        try:
            await asyncio.wait({building, watching}, return_when=asyncio.FIRST_COMPLETED)
            if not building.done():
                raise end_error("disk", "", 0, Plan(Kind.PYTHON), order.settings)
        finally:
            watching.cancel()
            building.cancel()  # a build that is cancelled ends what it started
            await asyncio.wait({building})
        if (error := building.result()) is not None:
            raise error
        assert image is not None  # noqa: S101 - there was no error
        build_log.write(f"Pushing the image to {order.shelf.host}...")
        await store.push(image.name, build_log)
        return image

    async def _watch_disk(self, limit: int) -> None:
        """Return when the layers that were begun since have become larger than a build may make them."""
        before = await asyncio.to_thread(_names, self._place.layers)
        while True:
            await asyncio.sleep(MEASURE_EVERY)
            grown = await asyncio.to_thread(_grown, self._place.layers, before)
            if limit and grown > limit:
                return

    async def _tidy(self, order: Order, image: Image | None, bases: list[str], store: Store) -> None:
        """Share what other pods can build on; keep room for the next build."""
        shared = [] if order.settings.base_image else bases
        if image is not None:
            key = image.labels.get("binderlet.environment", "")
            shared += [f"{ENVIRONMENT_IMAGE}:{key}"] if key else []
            await store.share(shared)
            await store.remove(image.name, order.shelf.reference(image.name))
        else:
            await store.share(shared)
        limit = int(os.environ.get(LIMIT_VARIABLE, "0") or 0)
        if not limit or await asyncio.to_thread(written, str(self._place.cache)) < FULL_AT * limit:
            return
        for name in await store.environments():
            await store.remove(name)
            if await asyncio.to_thread(written, str(self._place.cache)) < EMPTIED_TO * limit:
                return


async def _outcome(work: Coroutine[Any, Any, None]) -> BinderletError | None:
    """Give the error that work ended with: one of a task would be logged."""
    try:
        await work
    except BinderletError as error:
        return error
    return None


def network_here(order: Order, place: Place) -> NetworkEnvironment:
    """Give the control plane's way to the network, with its certificates beside this system's own. Blocks."""
    if not order.certificates:
        return replace(order.network, ca_bundle=place.bundle if place.bundle.exists() else None)
    bundle = place.state / "certificates.pem"
    bundle.write_text("\n".join([read_text(place.bundle) or "", *order.certificates]), encoding="utf-8")
    return replace(order.network, ca_bundle=bundle)


def extra_certificates(network: NetworkEnvironment) -> tuple[str, ...]:
    """Give the certificates that this machine trusts beside its distribution's. Blocks on the disk."""
    if network.ca_bundle is None:
        return ()
    known = [read_text(path) or "" for path in Path(base_recipe.DISTRIBUTION_CERTIFICATES).rglob("*.crt")]
    return tuple(base_recipe.extra_certificates(read_text(network.ca_bundle) or "", known))


def _take(place: Place, image: str) -> int | None:
    """Take the pod for one build, until the descriptor is closed; None where another builds there, or one was left."""
    work = place.cache / "work"
    current = work / "current"
    lock = os.open(work / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        return None
    is_anothers = read_text(current) not in {None, image}
    if is_anothers and any(Job(folder).is_running() for folder in (place.state / "jobs").glob("*")):
        os.close(lock)
        return None
    current.write_text(image, encoding="utf-8")
    return lock


def _clear(work: Path, key: str) -> None:
    for folder in work.glob(f"{key}-*"):
        shutil.rmtree(folder, ignore_errors=True)
    (work / f"{key}.log").unlink(missing_ok=True)


def _names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()} if folder.is_dir() else set()


def _grown(folder: Path, before: set[str]) -> int:
    return sum(written(str(folder / name / "diff")) for name in _names(folder) - before)


async def serve() -> None:
    """Carry out the order that comes on standard input."""
    # Standard output is for messages; and no local variables, among which passwords are.
    structlog.configure(
        processors=[structlog.processors.format_exc_info, structlog.processors.KeyValueRenderer()],
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
    reader = asyncio.StreamReader(limit=2**20)
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)

    def say(message: Message) -> None:
        try:
            sys.stdout.buffer.write(encode(message))
            sys.stdout.buffer.flush()
        except OSError:  # nobody reads any more
            leave()

    with contextlib.suppress(asyncio.IncompleteReadError):
        await Worker(reader, say, Place(), leave).run()


def leave() -> None:
    """End this process without ending the build."""
    os._exit(0)
