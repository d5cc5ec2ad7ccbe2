"""The base image of a plan."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from binderlet.builder.detect import Detected
from binderlet.builder.foundation import plan_on_base
from binderlet.builder.plan import Kind
from binderlet.errors import RegistryUnreachable
from binderlet.events.buildlog import BuildLog
from support.tiny_base import TinyBase, TinyBases

OWN = TinyBase("base:own", "sha256:own", "3.11")
NEW = TinyBase("base:new", "sha256:new", "3.12")


@pytest.fixture
def bases() -> TinyBases:
    """One base image, and one for Python 3.12."""
    made = TinyBases(OWN)
    made.by_python["3.12"] = NEW
    return made


def asking(python: str) -> Detected:
    """A repository that asks for a Python."""
    return Detected(files={"runtime.txt": f"python-{python}".encode()})


async def test_own(bases: TinyBases, tmp_path: Path) -> None:
    """What needs no other Python asks for no other base image."""
    log = BuildLog(tmp_path / "log")
    for found in (Detected(files={}), asking("3.11"), Detected(files={"Dockerfile": b"FROM x"}), asking("3.7")):
        assert (await plan_on_base(found, OWN, bases, log))[1] is OWN
    assert bases.asked == 0


async def test_another(bases: TinyBases, tmp_path: Path) -> None:
    """Another Python has a base image of its own."""
    log = BuildLog(tmp_path / "log")
    plan, base = await plan_on_base(asking("3.12"), OWN, bases, log)
    assert (plan.kind, plan.python, base) == (Kind.PYTHON, "3.12", NEW)
    await log.flush()


async def test_one_that_cannot_be_had(bases: TinyBases, tmp_path: Path) -> None:
    """Where the Python cannot be downloaded repo2docker builds, and the log says why."""
    bases.by_python["3.12"] = RegistryUnreachable("Python 3.12 cannot be had from example.org.")
    log = BuildLog(tmp_path / "log")
    plan, base = await plan_on_base(asking("3.12"), OWN, bases, log)
    assert (plan.kind, base) == (Kind.REPO2DOCKER, OWN)
    await log.flush()
    text = await asyncio.to_thread((tmp_path / "log").read_text)
    assert "cannot be had from example.org. So there is no base image for Python 3.12 now." in text
