"""Resolving on this machine, with the real uv and a small index."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from binderlet.builder.resolver import Resolver
from binderlet.config.network import NetworkEnvironment
from support.loopback import LoopbackServer, Request
from support.wheels import write_wheel


class Index(LoopbackServer):
    """Has ``lib`` 1.0 and 2.0, in JSON with sizes; for ``slow`` it answers only at its end."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self._wheels = {path.name: path for path in (write_wheel(folder, "lib", version) for version in ("1.0", "2.0"))}
        self._ends = threading.Event()

    @property
    def settings(self) -> str:
        """Uv's own settings for it."""
        return f'[[index]]\nurl = "{self.base}/simple"\ndefault = true\n'

    def answer(self, request: Request) -> None:
        """Give a wheel or a page."""
        name = request.path.strip("/").rpartition("/")[2]
        if name.endswith(".metadata"):
            version = name.split("-")[1]
            request.reply(200, f"Metadata-Version: 2.1\nName: lib\nVersion: {version}\n".encode())
        elif name in self._wheels:
            request.reply(200, self._wheels[name].read_bytes())
        elif name == "lib":
            files = [
                {
                    "filename": path.name,
                    "url": f"/{path.name}",
                    "hashes": {},
                    "size": path.stat().st_size,
                    "core-metadata": True,
                }
                for path in self._wheels.values()
            ]
            body = {"meta": {"api-version": "1.1"}, "name": "lib", "versions": ["1.0", "2.0"], "files": files}
            request.reply(200, json.dumps(body).encode(), Content_Type="application/vnd.pypi.simple.v1+json")
        else:
            if name == "slow":
                self._ends.wait(30)
            request.reply(404)

    def close(self) -> None:
        """Let those go that wait."""
        self._ends.set()
        super().close()


@pytest.fixture
def index(tmp_path: Path) -> Iterator[Index]:
    """An index."""
    with Index(tmp_path) as made:
        yield made


def resolver(tmp_path: Path, seconds: float = 15) -> Resolver:
    """Give one that knows of no index but those it is told."""
    return Resolver(tmp_path / "cache", NetworkEnvironment(), seconds=seconds)


async def test_resolve(tmp_path: Path, index: Index) -> None:
    """The newest that fits, but what is there already stays as long as it fits, and does not count otherwise."""
    one, uv = resolver(tmp_path), index.settings
    assert await one.resolve(["lib"], "3.11", settings=uv) == frozenset({"lib==2.0"})
    assert await one.resolve(["lib<2"], "3.11", settings=uv) == frozenset({"lib==1.0"})
    assert await one.resolve(["lib"], "3.11", settings=uv, prefer="lib==1.0\nother==3\n") == frozenset({"lib==1.0"})
    lowest = await one.resolve(["lib"], "3.11", settings=uv, options=["--resolution", "lowest"])
    assert lowest == frozenset({"lib==1.0"})


async def test_settings_count_for_more_than_variables(tmp_path: Path, index: Index) -> None:
    """The network's variables say where packages are; uv's own settings say it better."""
    wrong = Resolver(tmp_path / "cache", NetworkEnvironment(index_url="http://127.0.0.1:9/simple"), seconds=15)
    assert await wrong.resolve(["lib"], "3.11", settings=index.settings) == frozenset({"lib==2.0"})
    right = Resolver(tmp_path / "cache", NetworkEnvironment(index_url=f"{index.base}/simple"), seconds=15)
    assert await right.resolve(["lib"], "3.11") == frozenset({"lib==2.0"})


async def test_sizes(tmp_path: Path, index: Index) -> None:
    """The bytes of the wheel that would be installed."""
    wheel = tmp_path / "lib-2.0-py3-none-any.whl"
    assert await resolver(tmp_path).sizes(["lib==2.0"], "3.11", settings=index.settings) == {
        "lib==2.0": wheel.stat().st_size
    }


@pytest.mark.parametrize(("asked", "seconds"), [("missing", 15), ("lib>3", 15), ("slow", 0.5)])
async def test_what_cannot_be_told(tmp_path: Path, index: Index, asked: str, seconds: float) -> None:
    """No answer, or none in time, is no error: the build goes on without it."""
    one = resolver(tmp_path, seconds)
    assert await one.resolve([asked], "3.11", settings=index.settings) is None
    assert await one.sizes([asked], "3.11", settings=index.settings) is None


async def test_a_full_disk(tmp_path: Path, index: Index, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where uv cannot be started, the build hears of it from its own steps, not from here."""
    monkeypatch.setattr("binderlet.builder.resolver.find_uv_bin", lambda: str(tmp_path / "none"))
    with capture_logs() as logs:
        assert await resolver(tmp_path).resolve(["lib"], "3.11", settings=index.settings) is None
    assert logs[0]["log_level"] == "warning"
