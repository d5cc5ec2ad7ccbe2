"""What becomes of environments and images when their base image is made anew, on the real engine."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Iterator
from dataclasses import replace

import pytest

from binderlet.builder.toolchain import Toolchain
from support.tiny_base import TinyBase, docker
from support.workshop import Workshop

pytestmark = [pytest.mark.docker, pytest.mark.timeout(90)]


@pytest.fixture
def renewed(tools: Toolchain, tiny_base: TinyBase) -> Iterator[TinyBase]:
    """The base image of tomorrow."""
    name = f"binderlet-test/base-renewed:{secrets.token_hex(6)}"
    container = docker(tools.program, "create", tiny_base.name, "true").strip()
    image = docker(tools.program, "commit", "--change", "LABEL day=tomorrow", container, name).strip()
    docker(tools.program, "rm", container)
    yield TinyBase(name, image)
    docker(tools.program, "image", "rm", "--force", name, check=False)


async def test_old_environments_serve_until_new_ones_are_there(workshop: Workshop, renewed: TinyBase) -> None:
    """A new commit gets the environment on the old base at once; in the background both are made anew."""
    (workshop.checkout / "requirements.txt").write_text("iniconfig==2.0.0\n")
    first = await workshop.build()
    assert not workshop.builder.is_outdated(first)
    old_base, workshop.bases.base = workshop.bases.base, renewed
    assert workshop.builder.is_outdated(first)

    (workshop.checkout / "a.ipynb").write_text("{}")
    log = workshop.log("second")
    second = await workshop.build(log)
    assert "the environment on the old one is used until there is another" in await workshop.read(log)
    assert "iniconfig" not in await workshop.read(log)
    assert second.labels["binderlet.base"] == old_base.id
    assert workshop.builder.is_outdated(second)

    request = replace(workshop.request(), image=second.name, refresh=True)
    third = await workshop.builder.build(request, workshop.log("third"))
    assert (third.name, third.labels["binderlet.base"]) == (second.name, renewed.id)
    assert third.id != second.id
    assert not workshop.builder.is_outdated(third)
    program = workshop.tools.program
    command = ("run", "--rm", second.id, "python", "-c", "import iniconfig; print(1)")
    assert await asyncio.to_thread(docker, program, *command) == "1\n"
    await asyncio.to_thread(docker, program, "image", "rm", "--force", second.id, check=False)

    fourth = await workshop.build(log)
    assert fourth.labels["binderlet.environment"] == third.labels["binderlet.environment"]
    (newest, older) = await workshop.builder.environments.listed()
    assert (newest.id, older.id, newest.family == older.family) == (renewed.id, old_base.id, True)


async def test_what_installs_nothing_is_on_the_new_base_at_once(workshop: Workshop, renewed: TinyBase) -> None:
    """Without packages nothing is gained by an old environment."""
    await workshop.build()
    workshop.bases.base = renewed
    assert (await workshop.build(workshop.log("second"))).labels["binderlet.base"] == renewed.id


async def test_an_image_of_a_dockerfile_is_never_outdated(workshop: Workshop) -> None:
    """Its base image is the repository's business."""
    (workshop.checkout / "Dockerfile").write_text(f"FROM {workshop.bases.base.name}\n")
    image = await workshop.build()
    assert not workshop.builder.is_outdated(image)
