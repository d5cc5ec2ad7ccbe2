"""Locks on real images: left by each build, and what they are good for."""

from __future__ import annotations

import asyncio
import json
import re
from dataclasses import replace
from pathlib import Path

import pytest

from binderlet.builder import lock
from binderlet.builder.locks import Locks, read_lock_file
from binderlet.builder.toolchain import Toolchain
from binderlet.config.schema import BuilderSettings
from binderlet.errors import BadRepository
from binderlet.model import Image
from support.tiny_base import docker
from support.workshop import Workshop

VERSIONS = "import importlib.metadata as m; print(m.version('iniconfig'), m.version('toolz'))"


async def label(workshop: Workshop, image: Image) -> str:
    """Give the lock's label."""
    form = f'{{{{index .Config.Labels "{lock.LABEL}"}}}}'
    found = await asyncio.to_thread(docker, workshop.tools.program, "image", "inspect", "--format", form, image.name)
    return found.strip()


NOTHING = Toolchain("podman", "false", "", "/run/p.sock")


async def test_store(tmp_path: Path) -> None:
    """A lock is kept by its environment's key; one that was never made is empty."""
    locks = Locks(tmp_path / "locks", NOTHING)
    assert await locks.find("k", "x") == ""
    await locks.keep("k", "{}")
    assert await Locks(tmp_path / "locks", NOTHING).find("k", "x") == "{}"


async def test_environment_of_another_control_plane(tmp_path: Path) -> None:
    """What is not kept here is read from the image, once."""
    program = tmp_path / "docker"
    whole = json.dumps({"python_packages": [{"name": "numpy", "version": "2.0", "hash": "1"}]})
    await asyncio.to_thread(program.write_text, f"#!/bin/sh\necho '{whole}'\n")
    await asyncio.to_thread(program.chmod, 0o755)
    locks = Locks(tmp_path / "locks", Toolchain("docker", str(program), ""))
    assert await locks.find("k", "x") == '{"python_packages":["numpy==2.0"]}'
    assert await Locks(tmp_path / "locks", NOTHING).find("k", "x") == '{"python_packages":["numpy==2.0"]}'


async def test_image_that_gives_nothing() -> None:
    """An image without a lock gives none."""
    assert await read_lock_file(NOTHING, "x") == ""


async def test_image_that_hangs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """An engine that does not answer is given up, and its program ended."""
    program = tmp_path / "docker"
    await asyncio.to_thread(program.write_text, "#!/bin/sh\nexec sleep 60\n")
    await asyncio.to_thread(program.chmod, 0o755)
    monkeypatch.setattr("binderlet.builder.locks.TIMEOUT", 0.2)
    with pytest.raises(TimeoutError):
        await read_lock_file(Toolchain("docker", str(program), ""), "x")


@pytest.mark.docker
@pytest.mark.timeout(120)
async def test_build_lock_and_build_again(workshop: Workshop) -> None:
    """A build leaves its packages with hashes; a build from that lock has the same, whatever is newer by then."""
    requirements = workshop.checkout / "requirements.txt"
    requirements.write_text("iniconfig==2.0.0\ntoolz==0.12.0\n")
    built = await workshop.build()
    body = json.loads(await read_lock_file(workshop.tools, built.name))
    packages = {one["name"]: one for one in body["python_packages"]}
    assert packages["iniconfig"]["version"] == "2.0.0"
    assert re.fullmatch("[0-9a-f]{64}", packages["iniconfig"]["hash"])
    assert body["base_id"] == workshop.bases.base.id
    short = json.loads(await label(workshop, built))
    assert "iniconfig==2.0.0" in short["python_packages"]
    assert "binderlet-lock" not in await workshop.read()

    requirements.write_text("iniconfig\ntoolz\n")
    newest = await workshop.run(await workshop.build(), "/srv/conda/envs/notebook/bin/python", "-c", VERSIONS)
    assert newest.strip() != "2.0.0 0.12.0"
    again = await workshop.builder.build(replace(workshop.request(), lock=body), workshop.log("again"))
    same = await workshop.run(again, "/srv/conda/envs/notebook/bin/python", "-c", VERSIONS)
    assert same.strip() == "2.0.0 0.12.0"
    assert json.loads(await read_lock_file(workshop.tools, again.name))["python_packages"] == body["python_packages"]


@pytest.mark.docker
@pytest.mark.timeout(120)
async def test_packages_of_a_day(workshop: Workshop) -> None:
    """A date in runtime.txt, or the operator's, makes the repository's packages those of that day."""
    (workshop.checkout / "requirements.txt").write_text("iniconfig\ntoolz\n")
    python = workshop.bases.base.python
    (workshop.checkout / "runtime.txt").write_text(f"python-{python}-2023-06-01")
    of_day = await workshop.build()
    found = await workshop.run(of_day, "/srv/conda/envs/notebook/bin/python", "-c", VERSIONS)
    assert found.strip() == "2.0.0 0.12.0"
    assert json.loads(await label(workshop, of_day))["exclude_newer"] == "2023-06-01"
    (workshop.checkout / "runtime.txt").unlink()
    another = workshop.another(BuilderSettings(exclude_newer="2023-06-01"))
    of_service = await another.build(workshop.request(), workshop.log("second"))
    assert "builder.exclude_newer" in await workshop.read(workshop.log("second"))
    assert json.loads(await label(workshop, of_service))["exclude_newer"] == "2023-06-01"


@pytest.mark.docker
async def test_default_environment(workshop: Workshop) -> None:
    """A repository that asks for nothing has a lock, too: its base image."""
    (workshop.checkout / "analysis.ipynb").write_text("{}")
    short = json.loads(await label(workshop, await workshop.build()))
    assert (short["base_id"], short["python_packages"]) == (workshop.bases.base.id, [])


@pytest.mark.docker
async def test_lock_of_a_dockerfile(workshop: Workshop) -> None:
    """What a Dockerfile does no lock can hold."""
    (workshop.checkout / "Dockerfile").write_text(f"FROM {workshop.bases.base.name}\n")
    with pytest.raises(BadRepository, match="built from a lock"):
        await workshop.builder.build(replace(workshop.request(), lock={"format": 1}), workshop.log())
