"""Resolving on this machine, with the real uv and a small index."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from binderlet.builder.resolution import Resolution
from binderlet.builder.resolver import Resolver
from binderlet.config.network import NetworkEnvironment
from support.small_index import SmallIndex


@pytest.fixture
def index(tmp_path: Path) -> Iterator[SmallIndex]:
    """An index."""
    with SmallIndex(tmp_path) as made:
        yield made


def resolver(tmp_path: Path, seconds: float = 15, network: NetworkEnvironment | None = None) -> Resolver:
    """Give one that knows of no index but those it is told."""
    return Resolver(tmp_path / "cache", network or NetworkEnvironment(), "x86_64-manylinux_2_36", seconds=seconds)


def pins(found: Resolution | None) -> set[str]:
    """Give the packages, which are known."""
    assert found is not None
    return set(found.pins)


async def test_resolve(tmp_path: Path, index: SmallIndex) -> None:
    """The newest that fits, but what is there already stays as long as it fits, and does not count otherwise."""
    one, uv = resolver(tmp_path), index.settings
    assert pins(await one.resolve(["lib"], "3.11", settings=uv)) == {"lib==2.0"}
    assert pins(await one.resolve(["lib<2"], "3.11.2", settings=uv)) == {"lib==1.0"}
    assert pins(await one.resolve(["lib"], "3.11", settings=uv, prefer=["lib==1.0", "other==3"])) == {"lib==1.0"}
    lowest = await one.resolve(["lib"], "3.11", settings=uv, options=["--resolution", "lowest"])
    assert pins(lowest) == {"lib==1.0"}


async def test_settings_count_for_more_than_variables(tmp_path: Path, index: SmallIndex) -> None:
    """The network's variables say where packages are; uv's own settings say it better."""
    wrong = resolver(tmp_path, network=NetworkEnvironment(index_url="http://127.0.0.1:9/simple"))
    assert pins(await wrong.resolve(["lib"], "3.11", settings=index.settings)) == {"lib==2.0"}
    right = resolver(tmp_path, network=NetworkEnvironment(index_url=index.url))
    assert pins(await right.resolve(["lib"], "3.11")) == {"lib==2.0"}


async def test_wheels(tmp_path: Path, index: SmallIndex) -> None:
    """Where each package's wheel is, and how large."""
    found = await resolver(tmp_path).resolve(["lib==2.0"], "3.11", settings=index.settings)
    assert found is not None
    [package] = found.packages
    assert [wheel["url"] for wheel in package["wheels"]] == [f"{index.base}/lib-2.0-py3-none-any.whl"]
    assert found.sizes == {"lib==2.0": index.wheels["lib-2.0-py3-none-any.whl"].stat().st_size}


@pytest.mark.parametrize("asked", ["missing", "lib>3"])
async def test_what_cannot_be_told(tmp_path: Path, index: SmallIndex, asked: str) -> None:
    """No answer is no error: the build goes on without it, and the next one asks again."""
    one = resolver(tmp_path)
    assert await one.resolve([asked], "3.11", settings=index.settings) is None
    assert pins(await one.resolve(["lib"], "3.11", settings=index.settings)) == {"lib==2.0"}


async def test_an_index_that_does_not_answer(tmp_path: Path, index: SmallIndex) -> None:
    """Nobody waits long for it, and after the first for some minutes nobody at all."""
    one = resolver(tmp_path, 0.5)
    with capture_logs() as logs:
        assert await one.resolve(["slow"], "3.11", settings=index.settings) is None
        assert await one.resolve(["lib"], "3.11", settings=index.settings) is None
    assert [entry.get("seconds") for entry in logs] == [0.5]


async def test_a_full_disk(tmp_path: Path, index: SmallIndex, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where uv cannot be started, the build hears of it from its own steps, not from here."""
    monkeypatch.setattr("binderlet.builder.resolver.find_uv_bin", lambda: str(tmp_path / "none"))
    with capture_logs() as logs:
        assert await resolver(tmp_path).resolve(["lib"], "3.11", settings=index.settings) is None
    assert logs[0]["log_level"] == "warning"
