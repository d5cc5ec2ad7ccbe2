"""What does the work outside this process when sessions run in a cluster: builds stay with this machine's engine."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path

from binderlet.app.builders import cluster_machinery, with_registry
from binderlet.app.machinery import Machinery, real_machinery
from binderlet.builder.base import Builder
from binderlet.builder.delivery import DeliveringBuilder, by_import, by_push, by_registry, run
from binderlet.builder.toolchain import choose_toolchain
from binderlet.clients.cgroups_helped import HelpedCgroups
from binderlet.clients.docker import open_docker
from binderlet.clients.kubernetes import KubernetesClient
from binderlet.clients.kubernetes_access import find_access
from binderlet.config import Settings
from binderlet.config.network import NetworkEnvironment
from binderlet.engine.base import Engine
from binderlet.engine.kubernetes import KubernetesEngine
from binderlet.events.kinds import LaunchEvent
from binderlet.images.reach import check_reach
from binderlet.images.shelf import host_of, placed
from binderlet.launch.book import LaunchBook
from binderlet.model import Phase, Session
from binderlet.sessions.hibernator import Hibernator, Sight
from binderlet.sessions.nodes import NodesHibernator

PLACES = 500
"""Sessions at most where ``limits.sessions`` says nothing: the cluster itself says when it is full."""


def adapted(settings: Settings) -> Settings:
    """Give the settings with what a cluster decides instead of this machine.

    Raises:
        ConfigError: images are built there, and no registry is known.
    """
    limits, session = settings.limits, settings.session
    settings = with_registry(settings) if settings.builder_pods.namespace else settings
    return settings.model_copy(
        update={
            "limits": limits.model_copy(update={"sessions": limits.sessions or PLACES}),
            "session": session.model_copy(
                update={"start_concurrency": session.start_concurrency or settings.kubernetes.max_starting}
            ),
        }
    )


async def kubernetes_machinery(settings: Settings, network: NetworkEnvironment, state: Path) -> Machinery:
    """Reach the cluster, and this machine's container engine for builds.

    Raises:
        ConfigError: no cluster is known, or images have no way to it.
        EngineUnavailable: cluster or container engine do not answer.
    """
    if not settings.builder_pods.namespace:
        check_reach(settings)
    access = await asyncio.to_thread(find_access, settings.kubernetes)
    engine = KubernetesEngine(KubernetesClient(access), settings.engine, settings.kubernetes, settings.server.instance)
    try:
        version = await engine.ping()
        if settings.builder_pods.namespace:
            return await cluster_machinery(settings, network, engine, f"{version} at {access.server}")
        local = await real_machinery(settings, network, state)
    except BaseException:
        await engine.close()
        raise
    builder = await _delivering(local, settings)
    engine.reference = partial(reference, settings)

    async def close() -> None:
        await local.close()
        await local.engine.close()

    where = f"{version} at {access.server}, builds by {local.description}"
    return replace(local, engine=engine, builder=builder, description=where, close=close)


def reference(settings: Settings, name: str) -> str:
    """Give what nodes call an image of this machine."""
    return placed(settings.registry.url, name) if settings.kubernetes.delivery == "push" else name


async def _delivering(local: Machinery, settings: Settings) -> Builder:
    builder, delivery = local.builder, settings.kubernetes.delivery
    if delivery == "none":
        return builder
    if delivery == "push" and not host_of(settings.builder.image_prefix) and local.tier is not None:
        return DeliveringBuilder(builder, by_registry(local.tier.deliver))
    async with await open_docker(settings.engine) as docker:
        tools = await choose_toolchain(socket=docker.socket, engine_is_podman=docker.is_podman)
    command = (
        by_push(tools.program, tools.environment)
        if delivery == "push"
        else by_import(tools.program, settings.kubernetes.import_command, tools.environment)
    )
    return DeliveringBuilder(builder, partial(run, command))


def make_hibernator(
    engine: Engine,
    settings: Settings,
    sessions: Callable[[], Mapping[str, Session]],
    last_active: Callable[[], Mapping[str, float]],
    on_look: Callable[[Sight], None],
) -> Hibernator:
    """Make what pushes quiet sessions out: by the nodes' helpers where the settings name them, else on this machine."""
    if not isinstance(engine, KubernetesEngine) or not settings.kubernetes.agents_namespace:
        helper = settings.system.helper
        cgroups = HelpedCgroups(helper) if helper else None
        return Hibernator(sessions, last_active, settings.hibernate, cgroups=cgroups, on_look=on_look)
    return NodesHibernator(
        sessions,
        last_active,
        settings.hibernate,
        node_of=engine.node_of,
        find=engine.agents,
        token=settings.kubernetes.agents_token.get_secret_value(),
        on_look=on_look,
    )


def tell_viewers(engine: Engine, book: LaunchBook) -> None:
    """Have a cluster's engine tell those who watch a launch why it takes long."""

    def tell(launch_id: str, line: str, place: int) -> None:
        launch = book.find(launch_id)
        if launch is not None and not launch.ended_at:
            launch.story.add(LaunchEvent(Phase.LAUNCHING, f"{line}\n", {"queue_position": place} if place else {}))

    if isinstance(engine, KubernetesEngine):
        engine.tell = tell
