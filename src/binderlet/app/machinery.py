"""What does the work outside this process: engine, image store, builder, providers; concrete adapters by name."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

from binderlet.app.tier import Tier
from binderlet.builder.base import Builder
from binderlet.builder.base_image import BaseImages
from binderlet.builder.buildkit import BuildKitBuilder
from binderlet.builder.fake import FakeBuilder
from binderlet.builder.renewal import Renewal
from binderlet.builder.toolchain import choose_toolchain
from binderlet.clients.docker import DockerClient, open_docker
from binderlet.config import Settings
from binderlet.config.network import NetworkEnvironment
from binderlet.engine.base import Engine
from binderlet.engine.docker import DockerEngine
from binderlet.engine.fake import FakeEngine
from binderlet.engine.guard import Guard
from binderlet.images.base import ImageStore
from binderlet.images.fake import FakeImages
from binderlet.images.local import LocalImages
from binderlet.images.stock import EngineStock, Names
from binderlet.model import Image
from binderlet.providers.base import Provider
from binderlet.providers.git import GitProvider
from binderlet.providers.github import GitHubProvider


async def no_bases() -> Collection[str]:
    """Give no names, where nothing is built on a base image."""
    return ()


@dataclass(frozen=True, slots=True)
class Shelf:
    """What the engine keeps for us, for whoever looks after the disk."""

    store: EngineStock | None = None
    """None where no engine runs."""
    bases: Callable[[], Awaitable[Collection[str]]] = no_bases
    """Gives the names of the base images in use."""


@dataclass(frozen=True, slots=True)
class Machinery:
    """What does the work outside this process, real or fake."""

    engine: Engine
    images: ImageStore
    builder: Builder
    description: str
    """For people: ``Docker 20.10.24, BuildKit ...``."""
    close: Callable[[], Awaitable[None]]
    tier: Tier | None = None
    """The second tier of images; None where there is none."""
    shelf: Shelf = Shelf()
    guard: Guard | None = None
    """Keeps the sessions' network rules; None where others do, or there are no sessions."""


async def real_machinery(settings: Settings, network: NetworkEnvironment, state: Path) -> Machinery:
    """Reach this machine's container engine.

    Raises:
        EngineUnavailable: none answers.
    """
    docker = await open_docker(settings.engine)
    async with AsyncExitStack() as undo:
        undo.push_async_callback(docker.close)
        toolchain = await choose_toolchain(socket=docker.socket, engine_is_podman=docker.is_podman)
        images = LocalImages(docker)
        tier = Tier(settings, docker, images, state, network.ca_bundle) if Tier.is_wanted(settings) else None
        bring = tier.parts.bring if tier and tier.parts else None
        jobs, helper = settings.system.jobs, settings.system.helper
        base = BaseImages(
            docker, settings.builder, network, toolchain, state / "base", bring=bring, socket=jobs, helper=helper
        )
        builder = BuildKitBuilder(
            settings.builder,
            network,
            toolchain=toolchain,
            base=base,
            images=images,
            state=state,
            bring=bring,
            label=images.label,
            socket=jobs,
            helper=helper,
        )
        if tier is not None:
            tier.named = builder.together.all_named
        await images.watch()
        renewal = Renewal(base, state / "base" / "renewal-log", max_age=settings.builder.base_max_age)
        renewal.start()
        undo.pop_all()

    async def close() -> None:
        await renewal.close()
        await builder.close()
        await images.close()

    async def names_of_bases() -> Collection[str]:
        chosen = settings.builder.base_image
        return (chosen,) if chosen else [found.name for found in await base.kept() if found.is_current]

    guard = _guard(settings, network, docker)
    engine = DockerEngine(
        docker, settings.engine, settings.server.instance, slice_=settings.system.sessions_slice, guard=guard
    )
    store = EngineStock(
        docker,
        Names(settings.builder.image_prefix),
        settings.server.instance,
        build_cache=settings.disk.build_cache,
        min_age=settings.disk.min_age,
        helper=settings.system.helper,
    )
    description = f"{docker}, {toolchain.description}"
    return Machinery(engine, images, builder, description, close, tier, Shelf(store, names_of_bases), guard)


def _guard(settings: Settings, network: NetworkEnvironment, docker: DockerClient) -> Guard:
    return Guard(
        settings.egress,
        settings.server.instance,
        helper=settings.system.helper,
        urls=network.urls,
        elsewhere=not docker.socket.startswith("/"),
    )


async def fake_machinery() -> Machinery:
    """Make sessions and builds that are fakes, for tests and benchmarks."""
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
