"""A builder without a service: what the command line builds and reads locks with."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from binderlet.builder.base_image import BaseImages
from binderlet.builder.buildkit import BuildKitBuilder
from binderlet.builder.toolchain import Toolchain, choose_toolchain
from binderlet.clients.docker import DockerClient, open_docker
from binderlet.config.network import NetworkEnvironment
from binderlet.config.schema import Settings
from binderlet.images.local import LocalImages


@dataclass(frozen=True, slots=True)
class Workbench:
    """What one command needs."""

    images: LocalImages
    builder: BuildKitBuilder
    tools: Toolchain
    bases: BaseImages
    docker: DockerClient


@asynccontextmanager
async def open_workbench(settings: Settings, network: NetworkEnvironment, state: Path) -> AsyncIterator[Workbench]:
    """Give a builder on this machine's engine; ``state`` is a folder of its own, apart from a service's.

    Raises:
        EngineUnavailable: the engine does not answer.
        MissingProgram: no build tool is installed.
    """
    async with AsyncExitStack() as undo:
        docker = await open_docker(settings.engine)
        undo.push_async_callback(docker.close)
        tools = await choose_toolchain(socket=docker.socket, engine_is_podman=docker.is_podman)
        images = LocalImages(docker)
        base = BaseImages(docker, settings.builder, network, tools, state / "base")
        builder = BuildKitBuilder(
            settings.builder, network, toolchain=tools, base=base, images=images, state=state, label=images.label
        )
        undo.push_async_callback(builder.close)
        await images.refresh()
        yield Workbench(images, builder, tools, base, docker)
