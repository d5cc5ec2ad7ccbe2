"""What tests of the builder share: a build tool, a small base image, and a builder on them."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from binderlet.builder.toolchain import Toolchain, choose_toolchain
from binderlet.config.schema import BuilderSettings
from support.tiny_base import CliStore, TinyBase, TinyBases, docker, make_tiny_base
from support.workshop import Workshop, make_builder


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
