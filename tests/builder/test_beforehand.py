"""Resolving with the service's settings, with the real uv and a small index."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from binderlet.builder.base_recipe import base_pins
from binderlet.builder.beforehand import Beforehand
from binderlet.builder.plan import Kind, Plan
from binderlet.builder.stack import asked_by
from binderlet.config.network import NetworkEnvironment
from binderlet.config.schema import BuilderSettings
from binderlet.events.buildlog import BuildLog
from support.small_index import SmallIndex

PLAN = Plan(Kind.PYTHON, python="3.11", requirements_file="r.txt", requirements={"r.txt": "lib\n"})


@pytest.fixture
def index(tmp_path: Path) -> Iterator[SmallIndex]:
    """An index."""
    with SmallIndex(tmp_path) as made:
        yield made


@pytest.fixture
def network(index: SmallIndex) -> NetworkEnvironment:
    """A network with that index alone."""
    return NetworkEnvironment(index_url=index.url)


async def test_resolve(tmp_path: Path, network: NetworkEnvironment) -> None:
    """All is known that an installation needs, and the log says how long it took."""
    one, log = Beforehand(BuilderSettings(), network, tmp_path / "cache"), BuildLog(tmp_path / "log")
    await one.prepare()
    found = await one.resolve(asked_by(PLAN), PLAN, log)
    assert found is not None
    assert (set(found.pins), found.index) == ({"lib==2.0"}, network.index_url)
    assert "lib-2.0-py3-none-any.whl" in found.instructions
    await log.flush()
    assert "Resolved 1 packages in " in await asyncio.to_thread(log.path.read_text)
    old = replace(PLAN, requirements={"r.txt": "lib<2\n"})
    found = await one.resolve(asked_by(old), old, log)
    assert found is not None
    assert found.pins == {"lib==1.0"}


async def test_only_a_hint(tmp_path: Path, network: NetworkEnvironment) -> None:
    """From several indexes, or for a base image that is not locked, the packages are known but not where from."""
    log = BuildLog(tmp_path / "log")
    several = replace(network, extra_index_urls=(network.index_url,))
    unlocked = BuilderSettings(jupyterlab="4.4")
    for one in (
        Beforehand(BuilderSettings(), several, tmp_path / "cache"),
        Beforehand(unlocked, network, tmp_path / "cache"),
    ):
        found = await one.resolve(asked_by(PLAN), PLAN, log)
        assert found is not None
        assert found.pins == {"lib==2.0"}
        assert found.instructions == ""


async def test_what_cannot_be_told(tmp_path: Path, network: NetworkEnvironment) -> None:
    """The log has nothing on it: the build step will say what is wrong."""
    one, log = Beforehand(BuilderSettings(), network, tmp_path / "cache"), BuildLog(tmp_path / "log")
    unknown = replace(PLAN, requirements={"r.txt": "none\n"})
    assert await one.resolve(asked_by(unknown), unknown, log) is None
    assert await one.sizes(["none==1"], PLAN) == {}
    await log.flush()
    assert "Resolved" not in await asyncio.to_thread(log.path.read_text)


async def test_sizes(tmp_path: Path, index: SmallIndex, network: NetworkEnvironment) -> None:
    """The bytes of wheels; nothing is asked about nothing."""
    one = Beforehand(BuilderSettings(), network, tmp_path / "cache")
    size = index.wheels["lib-1.0-py3-none-any.whl"].stat().st_size
    assert await one.sizes(["lib==1.0"], PLAN) == {"lib==1.0": size}
    assert await one.sizes([], PLAN) == {}


async def test_base_pins(tmp_path: Path, network: NetworkEnvironment) -> None:
    """Those of the base image."""
    one = Beforehand(BuilderSettings(), network, tmp_path / "cache")
    expected = await asyncio.to_thread(base_pins, BuilderSettings(), "3.11")
    assert list(await one.base_pins("3.11")) == expected.split()
