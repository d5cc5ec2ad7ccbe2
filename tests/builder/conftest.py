"""What tests of the builder share: a build tool, a small base image, and a builder on them."""

from __future__ import annotations

import asyncio
import os
import secrets
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from support.tiny_base import CliStore, TinyBase, TinyBases, docker, make_tiny_base
from support.values import COMMIT

from binderlet.builder.base import BuildRequest
from binderlet.builder.buildkit import BuildKitBuilder
from binderlet.builder.toolchain import Toolchain, choose_toolchain
from binderlet.config.network import network_environment, read_text
from binderlet.config.schema import BuilderSettings, NetworkSettings
from binderlet.events.buildlog import BuildLog
from binderlet.model import Image

NETWORK = network_environment(NetworkSettings(), os.environ, read_text)


@pytest.fixture(scope="session")
def tools() -> Toolchain:
    """The build tool of this machine."""
    return asyncio.run(choose_toolchain())


@pytest.fixture(scope="session")
def tiny_base(tools: Toolchain) -> Iterator[TinyBase]:
    """A base image of our own, gone after the tests, with all that was built on it."""
    name = f"binderlet-test/base:{secrets.token_hex(6)}"
    base = make_tiny_base(tools, name)
    yield base
    built = docker(tools.program, "images", "--quiet", "--filter", f"label=binderlet.base={base.id}").split()
    docker(tools.program, "image", "rm", "--force", *built, check=False)
    environments = docker(tools.program, "images", "--quiet", "--filter", f"since={name}", "binderlet/env").split()
    ours = [image for image in environments if _is_on(tools, image, base)]
    docker(tools.program, "image", "rm", "--force", *ours, name, check=False)


def _is_on(tools: Toolchain, image: str, base: TinyBase) -> bool:
    layers = "{{index .RootFS.Layers 0}}"
    return docker(tools.program, "image", "inspect", "--format", layers, image) == docker(
        tools.program, "image", "inspect", "--format", layers, base.name
    )


@dataclass
class Workshop:
    """A builder, and short ways to use it."""

    builder: BuildKitBuilder
    bases: TinyBases
    store: CliStore
    tools: Toolchain
    folder: Path
    checkout: Path
    settings: BuilderSettings
    images: list[str] = field(default_factory=list)

    def request(self, owner: str = COMMIT.owner) -> BuildRequest:
        """Ask for an image of a new name."""
        name = f"binderlet-test/i-{secrets.token_hex(6)}:{COMMIT.sha}"
        self.images.append(name)
        return BuildRequest(replace(COMMIT, owner=owner), self.checkout, name)

    def log(self, name: str = "log") -> BuildLog:
        """Give a log, new or the same as before."""
        return BuildLog(self.folder / name)

    async def build(self, log: BuildLog | None = None) -> Image:
        """Build the checkout."""
        return await self.builder.build(self.request(), log or self.log())

    async def read(self, log: BuildLog | None = None) -> str:
        """Give the text of the log."""
        log = log or self.log()
        await log.flush()
        return await asyncio.to_thread(log.path.read_text, errors="replace")

    def another(self, settings: BuilderSettings | None = None) -> BuildKitBuilder:
        """Give a second builder on the same state, as after a restart."""
        return make_builder(settings or self.settings, self.tools, self.bases, self.store, self.folder / "state")

    async def run(self, image: Image, *command: str) -> str:
        """Run a program in an image."""
        return await asyncio.to_thread(docker, self.tools.program, "run", "--rm", image.name, *command)


def make_builder(
    settings: BuilderSettings, tools: Toolchain, bases: TinyBases, store: CliStore, state: Path
) -> BuildKitBuilder:
    """Put a builder together, with this machine's way to the network."""
    return BuildKitBuilder(settings, NETWORK, toolchain=tools, base=bases, images=store, state=state)


@pytest.fixture
async def workshop(tools: Toolchain, tiny_base: TinyBase, tmp_path: Path) -> AsyncIterator[Workshop]:
    """A builder on the real engine, whose images are removed afterwards."""
    checkout = tmp_path / "checkout"
    checkout.mkdir()
    settings, bases, store = BuilderSettings(), TinyBases(tiny_base), CliStore(tools.program)
    builder = make_builder(settings, tools, bases, store, tmp_path / "state")
    made = Workshop(builder, bases, store, tools, tmp_path, checkout, settings)
    yield made
    await builder.close()
    await asyncio.to_thread(docker, tools.program, "image", "rm", "--force", *made.images, check=False)
