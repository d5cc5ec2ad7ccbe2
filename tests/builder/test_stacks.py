"""Layers that environments share: what is made of scripted answers, and once for real."""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from unittest.mock import AsyncMock

import pytest
from structlog.testing import capture_logs

from binderlet.builder import stack, stacks
from binderlet.builder.base import BuildRequest
from binderlet.builder.buildkit import BuildKitBuilder
from binderlet.builder.job import Outcome
from binderlet.builder.layers import Work
from binderlet.builder.plan import Kind, Plan
from binderlet.builder.resolution import Resolution
from binderlet.builder.stack import Stack
from binderlet.builder.stacks import Known, Stacks
from binderlet.events.buildlog import BuildLog
from binderlet.model import Image
from binderlet.tasks import Tasks
from support.tiny_base import TinyBase, docker
from support.values import COMMIT
from support.workshop import Workshop

MB = 1_000_000
SIZES = {"numpy==2": 17 * MB, "pandas==2": 12 * MB, "scipy==1": 30 * MB, "six==1": 11_000}
BASE = TinyBase("base:1", "sha256:1", "3.11")


@dataclass
class World:
    """Stacks whose neighbours say what they are told to, and note what they are asked."""

    folder: Path
    made: list[tuple[str, ...]] = field(default_factory=list)
    images: set[str] = field(default_factory=set)
    outcome: Outcome = field(default_factory=lambda: Outcome(0, "exited", "", "", ""))

    def __post_init__(self) -> None:
        self.ready = AsyncMock()
        self.stacks = Stacks(
            self.folder / "stacks",
            maker=self,
            images=AsyncMock(find=self._image),
            beforehand=AsyncMock(sizes=self._sizes, base_pins=AsyncMock(return_value=("six==1",))),
            source="pypi",
            ready=self.ready,
        )

    async def _sizes(self, pins: tuple[str, ...], _: Plan) -> Mapping[str, int]:
        return {pin: SIZES[pin] for pin in pins}

    async def stack(self, work: Work, base: object, image: str) -> Outcome:  # noqa: ARG002 - the port has it
        """Make one, as far as is told."""
        self.made.append(work.stack.pins)
        if not self.outcome.code:
            self.images.add(image)
        return self.outcome

    async def _image(self, name: str) -> Image | None:
        return Image(name, "sha256:2") if name in self.images else None

    def work(self, *names: str) -> Work:
        """Give a build of these requirements."""
        text = "".join(f"{name}\n" for name in names)
        plan = Plan(Kind.PYTHON, python="3.11", requirements_file="r.txt", requirements={"r.txt": text})
        request = BuildRequest(COMMIT, self.folder, "i:1")
        return Work(request, plan, BuildLog(self.folder / "log"), 0.0)

    async def find(self, *names: str, gets: Collection[str] | None, base: TinyBase = BASE) -> Stack:
        """Give the stack of a build of these requirements, which ``gets`` these packages as far as is known."""

        async def resolve() -> Resolution | None:
            parts = (pin.split("==") for pin in gets or ())
            found = Resolution(tuple({"name": name, "version": version} for name, version in parts))
            return None if gets is None else found

        async with Tasks("test") as tasks:
            resolving = tasks.start(resolve(), name="resolve")
            return await self.stacks.find(replace(self.work(*names), resolving=resolving), base)

    async def after(self, work: Work, *pins: str) -> None:
        """Have an environment of these packages built, and all that follows done."""
        self.stacks.want(work, BASE, json.dumps({"python_packages": list(pins)}))
        await self.stacks.wait()


@pytest.fixture
def world(tmp_path: Path) -> World:
    """A world without stacks."""
    return World(tmp_path)


async def test_the_first_has_none(world: World) -> None:
    """Nobody waits for what is resolved as long as nothing is there."""
    never = asyncio.get_running_loop().create_future()
    assert await world.stacks.find(replace(world.work("numpy"), resolving=never), BASE) == Stack()


async def test_the_second_stands_on_the_firsts(world: World) -> None:
    """After a build its large packages get layers; a later one gets as many of them as fit, in their order."""
    await world.after(world.work("pandas"), "pandas==2", "numpy==2", "six==1")
    assert world.made == [("numpy==2", "pandas==2")]
    world.ready.assert_awaited()
    both = Stack(("numpy==2", "pandas==2"), "pypi")
    assert await world.find("pandas", gets={"numpy==2", "pandas==2", "six==1"}) == both
    assert await world.find("pandas", "x", gets={"numpy==2", "pandas==3"}) == Stack(("numpy==2",), "pypi")
    assert await world.find("pandas", gets=None) == Stack((), "pypi")
    assert await world.stacks.find(world.work("pandas"), BASE) == Stack((), "pypi")
    await world.stacks.close()


async def test_who_has_nothing_to_do_with_it_is_not_held_up(world: World) -> None:
    """Nobody waits for packages in whose environments nothing large was seen, or on other bases."""
    await world.after(world.work("pandas"), "pandas==2", "numpy==2")
    never = asyncio.get_running_loop().create_future()
    assert await world.stacks.find(replace(world.work("six"), resolving=never), BASE) == Stack()
    other = replace(BASE, id="sha256:2")
    assert await world.stacks.find(replace(world.work("pandas"), resolving=never), other) == Stack()


async def test_what_is_there_is_not_made_again(world: World) -> None:
    """Another environment with the same packages needs no layers, one with more gets what it lacks."""
    await world.after(world.work("pandas"), "pandas==2", "numpy==2")
    await world.after(world.work("numpy"), "numpy==2")
    assert len(world.made) == 1
    await world.after(world.work("scipy", "pandas"), "numpy==2", "pandas==2", "scipy==1")
    assert world.made[1:] == [("numpy==2", "pandas==2", "scipy==1")]
    [record] = (world.folder / "stacks").glob("*.json")
    assert json.loads(record.read_text()) == {
        "stacks": [["numpy==2", "pandas==2", "scipy==1"]],
        "names": ["numpy", "pandas", "scipy"],
    }


async def test_layers_that_were_removed(world: World) -> None:
    """A stack whose image the disk's budget took is no stack, and is made again after the next build."""
    await world.after(world.work("numpy"), "numpy==2")
    world.images.clear()
    assert (await world.find("numpy", gets={"numpy==2"})).pins == ()
    await world.after(world.work("numpy"), "numpy==2")
    assert len(world.made) == 2


async def test_nothing_large(world: World) -> None:
    """Small packages, packages of the base image, and environments that stacks are not for leave no trace."""
    await world.after(world.work("six"), "six==1")
    await world.after(world.work("numpy @ https://example.org/numpy.whl"), "numpy==2")
    world.stacks.want(world.work("numpy"), BASE, "")
    await world.stacks.wait()
    assert world.made == []
    assert not (world.folder / "stacks").exists()


async def test_two_builds_at_once(world: World) -> None:
    """However many builds end, their layers are made one after the other."""
    world.stacks.want(world.work("numpy"), BASE, '{"python_packages": ["numpy==2"]}')
    await world.after(world.work("scipy"), "scipy==1")
    assert world.made == [("numpy==2",), ("scipy==1",)]


async def test_failures_are_only_logged(world: World) -> None:
    """A step that fails costs a line in the log; nothing is put on record."""
    world.outcome = Outcome(1, "exited", "no space", "", "")
    with capture_logs() as logs:
        await world.after(world.work("numpy"), "numpy==2")
    assert [entry["event"] for entry in logs] == ["shared layers cannot be made"]
    assert "no space" in str(logs[0]["error"])
    assert await world.stacks.find(world.work("numpy"), BASE) == Stack()


@pytest.fixture
def records(world: World) -> tuple[Path, Path]:
    """An old record and a broken one."""
    old = world.folder / "stacks" / "old.json"
    old.parent.mkdir()
    old.write_text("{}")
    os.utime(old, (0, time.time() - stacks.OLD - 1))
    broken = old.with_stem(stack.foundation_of(BASE.id, world.work("numpy").plan, "pypi"))
    broken.write_text('{"stacks": 3}')
    return old, broken


async def test_records(world: World, records: tuple[Path, Path]) -> None:
    """A record that cannot be read is none; an old one goes."""
    old, broken = records
    with capture_logs() as logs:
        await world.after(world.work("numpy"), "numpy==2")
    assert logs[0]["event"] == "the record of shared layers cannot be read"
    assert not old.exists()
    assert await asyncio.to_thread(stacks._read, broken) == Known((("numpy==2",),), frozenset({"numpy"}))


@pytest.fixture
def alone(workshop: Workshop) -> BuildKitBuilder:
    """A builder on a base image that nothing stands on yet, without bytecode to wait for."""
    base = replace(workshop.bases.base, id=f"sha256:{secrets.token_hex(32)}")
    return workshop.another(workshop.settings.model_copy(update={"bytecode": False}), base)


def layers(workshop: Workshop, image: str) -> list[str]:
    """Give the layers of an image."""
    said = docker(workshop.tools.program, "inspect", "--format", "{{json .RootFS.Layers}}", image)
    return [str(layer) for layer in json.loads(said)]


@pytest.mark.docker
@pytest.mark.timeout(120)  # it reaches for a package index, on a machine that may be busy
async def test_for_real(workshop: Workshop, alone: BuildKitBuilder, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second environment has the first one's layers and only adds to them; its lock is whole."""
    monkeypatch.setattr(stack, "SMALLEST", 1)
    (workshop.checkout / "requirements.txt").write_text("iniconfig==2.0.0\n")
    await alone.build(workshop.request(), workshop.log())
    await alone.stacks.wait()
    (workshop.checkout / "requirements.txt").write_text("iniconfig\nidna==3.10\niniconfig<2.0.1\n")
    image = await alone.build(workshop.request(), workshop.log("second"))
    await alone.stacks.wait()
    await alone.close()
    text = await workshop.read(workshop.log("second"))
    assert "Here already, in layers of other environments: iniconfig==2.0.0." in text
    assert "+ idna==3.10" in text
    assert "+ iniconfig" not in text
    assert {"iniconfig==2.0.0", "idna==3.10"} <= set(json.loads(image.labels["binderlet.lock"])["python_packages"])
    assert await workshop.run(image, "python", "-c", "import idna, iniconfig; print(7)") == "7\n"
    [foundation] = [path.stem for path in (workshop.folder / "state" / "stacks").glob("*.json")]
    shared = await asyncio.to_thread(layers, workshop, stacks._image(foundation, ["idna==3.10", "iniconfig==2.0.0"]))
    workshop.images += [
        stacks._image(foundation, pins) for pins in (["idna==3.10", "iniconfig==2.0.0"], ["iniconfig==2.0.0"])
    ]
    first = await asyncio.to_thread(layers, workshop, workshop.images[-1])
    theirs = await asyncio.to_thread(layers, workshop, image.name)
    assert theirs[: len(first)] == first
    assert len(shared) == len(first) + 1


@pytest.mark.docker
@pytest.mark.timeout(120)  # as above
async def test_a_stack_that_cannot_be_built(workshop: Workshop, alone: BuildKitBuilder) -> None:
    """Layers that are gone, and cannot be made again, cost a second try and not the build."""
    (workshop.checkout / "requirements.txt").write_text("iniconfig==2.0.0\n")
    alone.stacks.find = AsyncMock(return_value=Stack(("binderlet-never-was==1",), "s"))  # type: ignore[method-assign] # scripted
    image = await alone.build(workshop.request(), workshop.log())
    await alone.close()
    assert "Once more, in layers of its own..." in await workshop.read()
    assert "iniconfig==2.0.0" in image.labels["binderlet.lock"]
