"""A builder on the real engine, and short ways to use it."""

from __future__ import annotations

import asyncio
import os
import secrets
from dataclasses import dataclass, field, replace
from pathlib import Path

from binderlet.builder.base import BuildRequest
from binderlet.builder.buildkit import BuildKitBuilder
from binderlet.builder.toolchain import Toolchain
from binderlet.config.network import network_environment, read_text
from binderlet.config.schema import BuilderSettings, NetworkSettings
from binderlet.events.buildlog import BuildLog
from binderlet.model import Image
from support.tiny_base import CliStore, TinyBase, TinyBases, docker
from support.values import COMMIT

NETWORK = network_environment(NetworkSettings(), os.environ, read_text)


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

    def another(self, settings: BuilderSettings | None = None, base: TinyBase | None = None) -> BuildKitBuilder:
        """Give a second builder on the same state, as after a restart."""
        bases = TinyBases(base) if base else self.bases
        return make_builder(settings or self.settings, self.tools, bases, self.store, self.folder / "state")

    async def run(self, image: Image, *command: str) -> str:
        """Run a program in an image."""
        return await asyncio.to_thread(docker, self.tools.program, "run", "--rm", image.name, *command)


def make_builder(
    settings: BuilderSettings, tools: Toolchain, bases: TinyBases, store: CliStore, state: Path
) -> BuildKitBuilder:
    """Put a builder together, with this machine's way to the network."""
    return BuildKitBuilder(settings, NETWORK, toolchain=tools, base=bases, images=store, state=state, label=store.label)
