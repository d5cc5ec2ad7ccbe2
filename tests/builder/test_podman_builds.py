"""Building with Podman, for real: on a Podman of the tests' own, whose images go with it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from binderlet.builder.toolchain import Toolchain, choose_toolchain
from binderlet.config.schema import BuilderSettings
from binderlet.errors import BuildFailed
from support.engines import podman_service
from support.tiny_base import CliStore, TinyBase, TinyBases, docker, make_tiny_base
from support.workshop import Workshop, make_builder

pytestmark = [pytest.mark.podman, pytest.mark.timeout(180)]


@pytest.fixture(scope="module")
def podman(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Toolchain]:
    """A build tool that speaks to it; the tests' own commands do so without being told."""
    with podman_service() as api:
        folder = tmp_path_factory.mktemp("podman")
        script = '[ "$1" = --remote ] || set -- --remote "$@"\nexec podman "$@"\n'
        address = f"export CONTAINER_HOST=unix://{api.socket_path}\n"
        (folder / "podman").write_text(f"#!/bin/bash\n{address}{script}")
        (folder / "podman").chmod(0o755)
        found = asyncio.run(choose_toolchain(socket=api.socket_path, engine_is_podman=True))
        yield replace(found, program=str(folder / "podman"))


@pytest.fixture(scope="module")
def base(podman: Toolchain) -> TinyBase:
    """A base image in it."""
    return make_tiny_base(podman, "localhost/binderlet-test/base:1")


@pytest.fixture
async def podman_workshop(podman: Toolchain, base: TinyBase, tmp_path: Path) -> AsyncIterator[Workshop]:
    """A builder on it."""
    checkout = tmp_path / "checkout"
    checkout.mkdir()
    settings, bases, store = BuilderSettings(), TinyBases(base), CliStore(podman.program)
    builder = make_builder(settings, podman, bases, store, tmp_path / "state")
    yield Workshop(builder, bases, store, podman, tmp_path, checkout, settings)
    await builder.close()


async def run(workshop: Workshop, image: str, *command: str) -> str:
    """Run a program in an image, with low limits: on some machines Podman may not raise them to its own."""
    limits = ("--ulimit", "nofile=1024:1024", "--ulimit", "nproc=1024:1024")
    return (await asyncio.to_thread(docker, workshop.tools.program, "run", "--rm", *limits, image, *command)).strip()


async def test_environment_and_content(podman_workshop: Workshop) -> None:
    """Packages, scripts and the repository's files are in the image and no others; a second commit installs nothing."""
    workshop = podman_workshop
    (workshop.checkout / "requirements.txt").write_text("iniconfig==2.0.0\n")
    (workshop.checkout / "postBuild").write_text("#!/bin/bash\npython -c 'import iniconfig' && touch built\n")
    image = await workshop.build()
    found = await run(workshop, image.name, "find", ".", "-type", "f")
    assert sorted(found.splitlines()) == ["./built", "./postBuild", "./requirements.txt"]
    assert image.labels["binderlet.base"] == workshop.bases.base.id
    (workshop.checkout / "a.ipynb").write_text("{}")
    log = workshop.log("second")
    await workshop.build(log)
    text = await workshop.read(log)
    assert "has been built before" in text
    assert "uv pip install" not in text


async def test_dockerfile_and_failure(podman_workshop: Workshop) -> None:
    """A Dockerfile is built with its ignore file; a script that fails is told."""
    workshop = podman_workshop
    (workshop.checkout / "Dockerfile").write_text(f"FROM {workshop.bases.base.name}\nCOPY . /copied/\n")
    (workshop.checkout / ".dockerignore").write_text("secret\n")
    (workshop.checkout / "secret").write_text("")
    image = await workshop.build()
    found = await run(workshop, image.name, "find", "/copied", "-type", "f")
    assert sorted(found.splitlines()) == ["/copied/.dockerignore", "/copied/Dockerfile"]
    (workshop.checkout / "Dockerfile").unlink()
    (workshop.checkout / "postBuild").write_text("#!/bin/bash\necho words\nexit 7\n")
    log = workshop.log("second")
    with pytest.raises(BuildFailed):
        await workshop.build(log)
    assert "words" in await workshop.read(log)
