"""The build tool's runs, on the real engine with a small base image."""

from __future__ import annotations

import secrets
from dataclasses import replace
from pathlib import Path
from unittest.mock import AsyncMock

import pytest

from binderlet.builder import buildkit
from binderlet.builder.conda.environment_file import EnvironmentFile
from binderlet.builder.job import Outcome
from binderlet.builder.layers import INSTALL_PROGRAM, Layers, Work, progress
from binderlet.builder.namespaces import Namespaces
from binderlet.builder.plan import Kind, Plan
from binderlet.builder.running import Jobs
from binderlet.builder.stack import Stack
from binderlet.builder.toolchain import Toolchain
from binderlet.config.schema import BuilderSettings
from binderlet.errors import BadRepository, RegistryUnreachable
from support.tiny_base import TinyBases
from support.workshop import NETWORK, Workshop

pytestmark = [pytest.mark.docker, pytest.mark.timeout(60)]  # real seconds on a busy machine


def write(workshop: Workshop, files: dict[str, str]) -> None:
    """Put files into the checkout."""
    for name, text in files.items():
        path = workshop.checkout / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


async def test_ignore_file(workshop: Workshop) -> None:
    """Only the ignore file beside the configuration counts."""
    write(workshop, {"binder/.dockerignore": "data\n", ".dockerignore": "kept\n", "data/x": "", "kept": ""})
    assert (await workshop.run(await workshop.build(), "ls")).split() == ["binder", "kept"]


async def test_dockerfile(workshop: Workshop) -> None:
    """A repository's own Dockerfile gets our arguments and labels, its steps are shown, its ignore file counts."""
    write(
        workshop,
        {
            "binder/Dockerfile": f"FROM {workshop.bases.base.name}\nUSER root\nARG NB_USER\nARG REPO_DIR\n"
            "COPY --chown=1000 . ${REPO_DIR}\nRUN echo for ${NB_USER} > /who\n",
            "binder/Dockerfile.dockerignore": "secret\n",
            ".dockerignore": "kept\n",
            "secret": "",
            "kept": "",
            "requirements.txt": "this is left alone",
        },
    )
    image = await workshop.build()
    assert await workshop.run(image, "cat", "/who") == "for jovyan\n"
    assert "secret" not in (await workshop.run(image, "ls", "/home/jovyan")).split()
    text = await workshop.read()
    assert "RUN echo for" in text
    assert "sha256:" not in text


@pytest.mark.parametrize(
    ("dockerfile", "error", "words"),
    [
        ("FROM scratch\nNONSENSE x\n", BadRepository, r"Dockerfile, line 2: unknown instruction"),
        ("FROM registry.invalid/x:1\n", RegistryUnreachable, r"image x:1; its registry registry\.invalid"),
    ],
)
async def test_wrong_dockerfile(workshop: Workshop, dockerfile: str, error: type[Exception], words: str) -> None:
    """A wrong line, or a base that cannot be had, is named."""
    write(workshop, {"Dockerfile": dockerfile})
    with pytest.raises(error, match=words):
        await workshop.build()


async def test_dockerfile_cannot_read_this_machine(workshop: Workshop) -> None:
    """An ignore file that is a link out of the checkout is left alone."""
    outside = workshop.folder / "outside"
    outside.write_text("*\n")
    write(workshop, {"Dockerfile": f"FROM {workshop.bases.base.name}\nCOPY . /x\n", "kept": ""})
    (workshop.checkout / "Dockerfile.dockerignore").symlink_to(outside)
    assert "kept" in await workshop.run(await workshop.build(), "ls", "/x")


def test_progress() -> None:
    """Podman's output is shown as it is."""
    plan = Plan(Kind.PYTHON)
    assert progress(Toolchain("podman", "podman", "4"), plan) == "raw"


@pytest.mark.parametrize("settings", [BuilderSettings(), BuilderSettings(index_age=0)])
async def test_memory_and_proxies_reach_the_tool(workshop: Workshop, settings: BuilderSettings) -> None:
    """Proxies are build arguments, which stay out of the image; indexes are in a file that only one step sees."""
    network = replace(NETWORK, http_proxy="http://proxy.test:3128", index_url="https://me:pw@index.test/simple")
    unused = replace(workshop.bases.base, id=f"sha256:{secrets.token_hex(32)}")  # no environment is on it
    builder = buildkit.BuildKitBuilder(
        settings,
        network,
        toolchain=workshop.tools,
        base=TinyBases(unused),
        images=workshop.store,
        state=workshop.folder / "state",
    )
    builder._layers._jobs = AsyncMock(path=lambda key: workshop.folder / key)
    builder._layers._jobs.run = AsyncMock(return_value=Outcome(1, "exited", "dns error"))
    with pytest.raises(RegistryUnreachable):
        await builder.build(workshop.request(), workshop.log())
    _, context, spec, _ = builder._layers._jobs.run.await_args.args
    command = spec(60.0).command
    assert "http_proxy=http://proxy.test:3128" in command
    assert not any("pw" in word for word in command)
    assert context.variables["UV_DEFAULT_INDEX"] == "https://me:pw@index.test/simple"
    assert ('url = "https://me:pw@index.test/simple"' in context.uv) is bool(settings.index_age)
    assert "http_proxy" not in context.variables


PIP = Plan(Kind.PYTHON, requirements_file="requirements.txt", requirements={"requirements.txt": "x"})
SYSTEM = "[build-system]\nrequires=['flit_core']\nbuild-backend='flit_core.buildapi'\n"


@pytest.mark.parametrize(
    ("plan", "can"),
    [
        (PIP, True),
        (Plan(Kind.PYTHON, apt=("curl",)), True),
        (Plan(Kind.PYTHON), False),  # nothing to build: the environment is the base image
        (replace(PIP, local=(".",)), False),
        (replace(PIP, conda=EnvironmentFile("environment.yml")), False),
        (replace(PIP, requirements={"a b.txt": ""}), False),
        (replace(PIP, requirements={"requirements.txt": "x" * 200_000}), False),
        (replace(PIP, requirements={f"{number}.txt": "" for number in range(20)}), False),
    ],
)
def test_can_be_one(workshop: Workshop, plan: Plan, *, can: bool) -> None:
    """What takes two runs: a cache of the owner's, archives of conda, files that are many, large or oddly named."""
    assert workshop.builder._layers.can_be_one(plan) is can


def test_podman_takes_two_runs(tmp_path: Path) -> None:
    """It has no caches that could be kept apart."""
    tools = Toolchain("podman", "podman", "4")
    layers = Layers(BuilderSettings(), NETWORK, tools, Jobs(tmp_path), Namespaces(tmp_path / "namespace"))
    assert not layers.can_be_one(PIP)


async def test_each_in_a_run_of_its_own(workshop: Workshop) -> None:
    """Environment and content are built one after the other where the content installs something."""
    write(workshop, {"requirements.txt": "iniconfig==2.0.0\n-e .\n", "own.py": "'Own.'\n"})
    write(workshop, {"pyproject.toml": f"[project]\nname='own'\nversion='1'\ndescription='Own.'\n{SYSTEM}"})
    image = await workshop.build()
    assert image.labels["binderlet.image"] == "content"
    assert await workshop.run(image, "python", "-c", "import own, iniconfig; print(1)") == "1\n"


async def test_both_in_one_run(workshop: Workshop) -> None:
    """One run builds both; the environment gets its name without a second installation."""
    fresh = replace(workshop.bases.base, id=f"sha256:{secrets.token_hex(32)}")
    write(workshop, {"requirements.txt": "-r more.txt\n", "more.txt": "iniconfig==2.0.0\n"})
    builder = workshop.another(base=fresh)
    image = await builder.build(workshop.request(), workshop.log())
    await builder.close()
    environment = f"binderlet/env:{image.labels['binderlet.environment']}"
    workshop.images.append(environment)
    assert await workshop.store.find(environment) is not None
    assert (await workshop.read()).count("+ iniconfig==2.0.0") == 1


def test_proxies_of_docker_itself(workshop: Workshop, tmp_path: Path) -> None:
    """Where Docker's own configuration gives proxies, a build's mark would replace them."""
    tools = replace(workshop.tools, proxies=True)
    layers = Layers(BuilderSettings(), NETWORK, tools, Jobs(tmp_path), Namespaces(tmp_path / "namespace"))
    assert "binderlet.invalid" not in layers.proxies("job").get("no_proxy", "")


async def test_what_nobody_waits_for(workshop: Workshop) -> None:
    """Shared layers get their name; wheels that are fetched make no image, and never come out of the tool's cache."""
    layers = workshop.builder._layers
    layers._jobs = AsyncMock(path=lambda key: workshop.folder / key)
    layers._jobs.run = AsyncMock(return_value=Outcome(0, "exited", ""))
    base = workshop.bases.base
    work = Work(workshop.request(), replace(PIP, python="3.11"), workshop.log(), 0.0)
    assert await work.resolution() is None
    await layers.stack(replace(work, stack=Stack(("numpy==2",), "pypi")), base, "binderlet-test/stack:1")
    _, context, spec, _ = layers._jobs.run.await_args.args
    assert "binderlet-test/stack:1" in spec(60.0).command
    assert "numpy==2" in context.dockerfile
    made = []
    for _ in range(2):
        await layers.fetch(work, base)
        _, context, spec, _ = layers._jobs.run.await_args.args
        made.append(context.dockerfile)
        assert f"type=local,dest={context.folder / 'report'}" in spec(60.0).command
        assert context.secrets["install_program.py"] == INSTALL_PROGRAM
    assert made[0] != made[1]
