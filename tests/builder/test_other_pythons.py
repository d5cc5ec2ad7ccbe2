"""A Python that Debian does not have, for real: uv fetches it from a mirror, and a repository that asks gets it."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from binderlet.builder import base_recipe
from binderlet.builder.base import BuildRequest
from binderlet.builder.base_image import BaseImages
from binderlet.builder.buildkit import BuildKitBuilder
from binderlet.builder.toolchain import Toolchain
from binderlet.clients.docker import open_docker
from binderlet.config.schema import BuilderSettings, EngineSettings
from binderlet.events.buildlog import BuildLog
from support.gateway import Served
from support.python_mirror import MINOR, VERSION, serve_pythons
from support.tiny_base import CliStore, TinyBase, docker
from support.values import COMMIT
from support.workshop import NETWORK

pytestmark = [pytest.mark.docker, pytest.mark.timeout(400)]
LOOK = "import sys, iniconfig; print(sys.version.split()[0], sys.base_prefix.split('-linux')[0], iniconfig.__file__)"


@dataclass
class Bench:
    """A builder whose first base image is a small one, and which can make one for the tests' own Python."""

    bases: BaseImages
    builder: BuildKitBuilder
    tools: Toolchain
    folder: Path


@pytest.fixture(scope="module")
def mirror(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A mirror of this one Python."""
    with serve_pythons(tmp_path_factory.mktemp("pythons")) as served:
        yield served


@pytest.fixture
async def bench(
    mirror: Served, tools: Toolchain, tiny_base: TinyBase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Bench]:
    """The base image's own Python is said to be another, so that the mirror's is one of the others."""
    monkeypatch.setattr(base_recipe, "PYTHONS", {"bookworm": "3.99"})
    settings = BuilderSettings(python_mirror=mirror.address, python_list=f"{mirror.address}/list.json")
    async with await open_docker(EngineSettings()) as client:
        bases = BaseImages(client, settings, NETWORK, tools, tmp_path / "base")
        first = replace(tiny_base, python="3.99")
        ensure = bases.ensure

        async def either(log: BuildLog, python: str = "") -> object:
            return await ensure(log, python) if python else first

        monkeypatch.setattr(bases, "ensure", either)
        store = CliStore(tools.program)
        builder = BuildKitBuilder(
            settings, NETWORK, toolchain=tools, base=bases, images=store, state=tmp_path / "state"
        )
        yield Bench(bases, builder, tools, tmp_path)
        await builder.close()


async def test_a_repository_with_another_python(bench: Bench, mirror: Served) -> None:
    """The Python comes from the mirror, once; Jupyter and the repository's packages run on it."""
    checkout = bench.folder / "checkout"
    checkout.mkdir()
    (checkout / "runtime.txt").write_text(f"python-{MINOR}\n")
    (checkout / "requirements.txt").write_text("iniconfig==2.0.0\n")
    names = [f"binderlet-test/python-{secrets.token_hex(4)}:{n}" for n in range(2)]
    log = BuildLog(bench.folder / "log")
    try:
        builds = [bench.builder.build(BuildRequest(COMMIT, checkout, name), log) for name in names]
        await asyncio.gather(*builds)
        run = (bench.tools.program, "run", "--rm", names[0])
        shown = await asyncio.to_thread(docker, *run, "python", "-c", LOOK)
        jupyter = await asyncio.to_thread(docker, *run, "jupyter", "lab", "--version")
    finally:
        base = await bench.bases.ensure(log, MINOR)
        await asyncio.to_thread(_remove, bench.tools, [*names, base.name])
    version, base_prefix, module = shown.split()
    assert (version, base_prefix) == (VERSION, f"/opt/python/cpython-{MINOR}")
    assert module.startswith("/srv/conda/envs/notebook/")
    assert jupyter.strip() == BuilderSettings().jupyterlab
    # None where the engine still has the layer from an earlier run.
    assert len([path for path in mirror.requests if path.endswith(".tar.gz")]) <= 1
    await log.flush()
    text = await asyncio.to_thread(log.path.read_text)
    assert f"Making the base image for Python {MINOR}" in text
    assert f"Python {MINOR} has a base image of its own" in text


def _remove(tools: Toolchain, names: list[str]) -> None:
    labels = '{{index .Config.Labels "binderlet.environment"}}'
    keys = {docker(tools.program, "image", "inspect", "--format", labels, name, check=False) for name in names}
    environments = [f"binderlet/env:{key.strip()}" for key in keys if key.strip()]
    docker(tools.program, "image", "rm", "--force", *names[:2], *environments, *names[2:], check=False)
