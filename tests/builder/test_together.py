"""Environment and content in one run, on the real engine with a small base image."""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from unittest.mock import AsyncMock

import pytest

from binderlet.builder.buildkit import BuildKitBuilder
from binderlet.builder.environments import Environment
from binderlet.builder.install_program import AGAIN
from binderlet.builder.job import Outcome
from binderlet.builder.keys import job_key
from binderlet.builder.layers import Work
from binderlet.builder.plan import Kind, Plan
from binderlet.builder.resolution import Resolution
from binderlet.builder.together import Together
from binderlet.errors import BuildFailed, EngineUnavailable
from binderlet.model import Image
from support.gateway import gateway
from support.small_index import SmallIndex
from support.tiny_base import docker
from support.workshop import NETWORK, Workshop

pytestmark = [pytest.mark.docker, pytest.mark.timeout(60)]  # it reaches for a package index
GOOD = Outcome(0, "exited", "", "{}", "sha256:1")
ENVIRONMENT = Environment("key", "family", "base", "sha256:0", "3.11")


@pytest.fixture
async def fresh(workshop: Workshop) -> AsyncIterator[BuildKitBuilder]:
    """A builder on a base image that no environment is on yet, and files of one package and a notebook."""
    base = replace(workshop.bases.base, id=f"sha256:{secrets.token_hex(32)}")
    builder = workshop.another(base=base)
    (workshop.checkout / "requirements.txt").write_text("iniconfig==2.0.0\n")
    (workshop.checkout / "a.ipynb").write_text("1")
    yield builder
    await builder.close()
    workshop.images += [environment.image for environment in await builder.environments.listed()]


def runs(builder: BuildKitBuilder) -> list[str]:
    """Give a list that gets the key of each of a builder's runs from now on."""
    found: list[str] = []
    real = builder._jobs.run

    async def run(key: str, *arguments: object, **more: object) -> Outcome:
        found.append(key)
        return await real(key, *arguments, **more)  # type: ignore[arg-type] # handed through

    builder._jobs.run = run  # type: ignore[method-assign] # counts
    return found


async def inspect(workshop: Workshop, image: str, what: str) -> str:
    """Give something of an image."""
    return await asyncio.to_thread(docker, workshop.tools.program, "inspect", "--format", what, image)


async def test_one_run(workshop: Workshop, fresh: BuildKitBuilder) -> None:
    """The visitor waits for one run; lock and labels are whole, and the environment gets its name afterwards."""
    found = runs(fresh)
    request = workshop.request()
    image = await fresh.build(request, workshop.log())
    assert found[:1] == [job_key(request.image)]
    assert "iniconfig==2.0.0" in json.loads(image.labels["binderlet.lock"])["python_packages"]
    assert image.labels["binderlet.image"] == "content"
    assert image.labels["repo2docker.ref"] == request.commit.sha
    assert await workshop.run(image, "python", "-c", "import iniconfig; print(open('a.ipynb').read())") == "1\n"
    (workshop.checkout / "a.ipynb").write_text("2")
    again = await fresh.build(workshop.request(), workshop.log("second"))
    assert len(found) == 3  # both, the environment's name, the second content
    assert "Using Python" not in await workshop.read(workshop.log("second"))
    assert again.labels["binderlet.lock"] == image.labels["binderlet.lock"]
    environment = f"binderlet/env:{image.labels['binderlet.environment']}"
    labels = json.loads(await inspect(workshop, environment, "{{json .Config.Labels}}"))
    assert labels["binderlet.image"] == "environment"
    layers = [await inspect(workshop, name, "{{.RootFS.Layers}}") for name in (environment, image.name, again.name)]
    assert all(each.startswith(layers[0].rstrip("]\n")) for each in layers)


async def test_two_at_once(workshop: Workshop, fresh: BuildKitBuilder) -> None:
    """Who asks for the same environment meanwhile reads the log of its installation, and installs nothing."""
    found = runs(fresh)
    logs = [workshop.log("one"), workshop.log("other")]
    await asyncio.gather(*(fresh.build(workshop.request(), log) for log in logs))
    texts = [await workshop.read(log) for log in logs]
    assert all(text.count("+ iniconfig==2.0.0") == 1 for text in texts)
    assert sum("Somebody else asked" in text for text in texts) == 1
    assert len(found) == 3


async def test_content_that_fails(workshop: Workshop, fresh: BuildKitBuilder) -> None:
    """The error is the content's; the environment is there for the next commit."""
    (workshop.checkout / "postBuild").write_text("#!/bin/bash\necho no; exit 7\n")
    with pytest.raises(BuildFailed, match="postBuild"):
        await fresh.build(workshop.request(), workshop.log())
    (workshop.checkout / "postBuild").unlink()
    await fresh.build(workshop.request(), workshop.log("second"))
    assert "has been built before" in await workshop.read(workshop.log("second"))


async def test_an_engine_that_gives_no_names(workshop: Workshop, fresh: BuildKitBuilder) -> None:
    """Where the image cannot get its label afterwards, the content is added once more, the usual way."""
    fresh.together._label = AsyncMock(side_effect=EngineUnavailable("no"))
    image = await fresh.build(workshop.request(), workshop.log())
    assert "iniconfig==2.0.0" in image.labels["binderlet.lock"]


def together(workshop: Workshop, outcome: Outcome, naming: Outcome | Exception = GOOD) -> tuple[Together, Work]:
    """Give one whose runs end so."""
    layers = AsyncMock(both=AsyncMock(return_value=outcome), can_be_one=lambda _plan: True)
    layers.name = AsyncMock(side_effect=[naming])
    label = AsyncMock(return_value=Image("x", "sha256:2"))
    work = Work(workshop.request(), Plan(Kind.PYTHON), workshop.log(), 0.0)
    return Together(layers, AsyncMock(), label), work


async def labels() -> dict[str, str]:
    """Give the labels."""
    return {"a": "b"}


@pytest.mark.parametrize(
    ("outcome", "has_environment", "has_image"),
    [
        (GOOD, True, True),
        (replace(GOOD, image=""), True, False),  # a tool that does not say what it made
        (replace(GOOD, lock=""), True, False),
        (replace(GOOD, code=1), True, False),
        (replace(GOOD, reason="timeout"), True, False),
        (replace(GOOD, code=1, lock=""), False, False),
    ],
)
async def test_outcomes(workshop: Workshop, outcome: Outcome, *, has_environment: bool, has_image: bool) -> None:
    """What was built counts, however the run ended."""
    one, work = together(workshop, outcome)
    built = await one.build(work, workshop.bases.base, ENVIRONMENT, labels)
    assert (built.has_environment, built.image is not None) == (has_environment, has_image)
    await one.named("key")
    await one.close()


@pytest.mark.parametrize("naming", [replace(GOOD, code=1, tail="words"), EngineUnavailable("gone")])
async def test_a_name_that_cannot_be_given(workshop: Workshop, naming: Outcome | Exception) -> None:
    """It is no failure of the build: the next commit builds the environment again."""
    one, work = together(workshop, GOOD, naming)
    assert (await one.build(work, workshop.bases.base, ENVIRONMENT, labels)).image is not None
    await one.named("another")
    await one.close()


def test_who_can(workshop: Workshop) -> None:
    """Without a way to give names there is no such build."""
    one, work = together(workshop, GOOD)
    assert one.can(work)
    one._label = None
    assert not one.can(work)


async def test_resolved_beforehand(workshop: Workshop, fresh: BuildKitBuilder) -> None:
    """The build step installs what was resolved while it started, and does not resolve again."""
    await fresh.prepare(workshop.log())
    image = await fresh.build(workshop.request(), workshop.log())
    said = [line for line in (await workshop.read()).splitlines() if "Resolved" in line]
    assert len(said) == 1
    assert said[0].startswith('{"phase"')
    assert "iniconfig==2.0.0" in json.loads(image.labels["binderlet.lock"])["python_packages"]


@pytest.mark.parametrize("tag", ["cp27-none-any", ""])
async def test_resolved_wrongly(workshop: Workshop, fresh: BuildKitBuilder, tag: str) -> None:
    """Where what was resolved cannot be installed, or nothing was, the build step resolves."""
    wheel = {"url": f"https://files.test/iniconfig-2.0.0-{tag}.whl", "hashes": {"sha256": "0" * 64}}
    package = {"name": "iniconfig", "version": "2.0.0", "wheels": [wheel]}
    found = Resolution((package,), "https://index.test/simple") if tag else None
    fresh._beforehand.resolve = AsyncMock(return_value=found)  # type: ignore[method-assign] # scripted
    image = await fresh.build(workshop.request(), workshop.log())
    text = await workshop.read()
    assert (AGAIN in text) is bool(tag)
    assert "\nResolved 1 package in " in text
    assert await workshop.run(image, "python", "-c", "import iniconfig; print(1)") == "1\n"


async def test_an_index_with_a_password(workshop: Workshop, fresh: BuildKitBuilder, tmp_path: Path) -> None:
    """Who resolves, who installs and who fetches later all know it; the image and the log do not."""
    host = await asyncio.to_thread(gateway)
    with SmallIndex(tmp_path, host=host, user="me:secret") as index:
        network = replace(NETWORK, index_url=index.url)
        builder = BuildKitBuilder(
            workshop.settings.model_copy(update={"shared_layers": False, "bytecode": False}),
            network,
            toolchain=workshop.tools,
            base=fresh._bases,
            images=workshop.store,
            state=tmp_path / "state",
            label=workshop.store.label,
        )
        await asyncio.to_thread((workshop.checkout / "requirements.txt").write_text, "lib\n")
        image = await builder.build(workshop.request(), workshop.log())
        await builder.close()
    workshop.images += [environment.image for environment in await builder.environments.listed()]
    text = await workshop.read()
    assert "+ lib==2.0" in text
    assert AGAIN not in text
    assert "secret" not in text + await inspect(workshop, image.name, "{{json .}}")
