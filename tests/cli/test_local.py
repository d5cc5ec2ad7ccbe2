"""What commands do without a service; ``tests/builder/test_locks.py`` builds from locks for real."""

from __future__ import annotations

import asyncio
import json
import subprocess
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from binderlet.builder.base import BuildRequest
from binderlet.builder.lock import LABEL
from binderlet.builder.toolchain import Toolchain
from binderlet.cli import local
from binderlet.cli.local import Local, Source
from binderlet.config import Settings
from binderlet.config.schema import PathSettings
from binderlet.errors import BadSpec, ImageMissing, UnknownProvider
from binderlet.events.buildlog import BuildLog
from binderlet.images.fake import FakeImages
from binderlet.images.names import image_name
from binderlet.model import Image

LOCK = {"format": 1, "base_id": "x", "python": "3.11", "debian": [], "python_packages": []}


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A git repository with a requirement file."""
    folder = tmp_path / "repository"
    folder.mkdir()
    (folder / "requirements.txt").write_text("numpy\n")
    who = ("-c", "user.name=x", "-c", "user.email=x@example.org")
    for arguments in (("init", "-q"), ("add", "."), (*who, "commit", "-qm", "x")):
        subprocess.run(["git", "-C", str(folder), *arguments], check=True)
    (folder / "apt.txt").write_text("curl\n")  # not in the commit
    return folder


@pytest.fixture
def commands(tmp_path: Path) -> Local:
    """What is tested."""
    return Local(Settings(paths=PathSettings(state=tmp_path / "state")))


class Bench:
    """Images and a builder that only writes down what it is asked."""

    def __init__(self, lock_file: str = "") -> None:
        self.images = FakeImages()
        self.builder = self
        self.tools = Toolchain("docker", "docker", "")
        self.requests: list[BuildRequest] = []
        self.lock_file = lock_file

    async def build(self, request: BuildRequest, log: BuildLog) -> Image:
        """Pretend."""
        log.write("Building...")
        assert await asyncio.to_thread((request.checkout / "requirements.txt").exists)
        self.requests.append(request)
        image = Image(request.image, "sha256:1")
        self.images.images[image.name] = image
        return image

    def install(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Take the real one's place."""

        @asynccontextmanager
        async def open_workbench(*_: object) -> AsyncIterator[Bench]:
            yield self

        async def read(*_: object) -> str:
            return self.lock_file

        monkeypatch.setattr(local, "open_workbench", open_workbench)
        monkeypatch.setattr(local, "read_lock_file", read)


def said() -> tuple[list[str], Callable[[str], None]]:
    """Give a list, and what appends to it."""
    lines: list[str] = []
    return lines, lines.append


async def test_explain_a_folder(commands: Local, repository: Path) -> None:
    """A folder is explained as it is now, a ref of it as it was committed."""
    now = await commands.explain(Source(str(repository)))
    assert now.used == ("apt.txt", "requirements.txt")
    committed = await commands.explain(Source(str(repository), "HEAD"))
    assert committed.used == ("requirements.txt",)


async def test_provider_that_is_not_there(commands: Local) -> None:
    """A repo provider that nobody enabled is named."""
    with pytest.raises(UnknownProvider, match="'none'"):
        await commands.explain(Source("x/y", provider="none"))


async def test_locked(commands: Local, repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The lock goes to the builder, and the image has a name of its own for each lock."""
    bench = Bench()
    bench.install(monkeypatch)
    lines, say = said()
    file = tmp_path / "lock.json"
    await asyncio.to_thread(file.write_text, json.dumps(LOCK))
    name = await commands.build_locked(Source(str(repository)), str(file), say)
    assert bench.requests[0].lock == LOCK
    assert "-locked-" in name
    assert "Building..." in "".join(lines)


async def test_lock_of_a_repository(commands: Local, repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file in the image counts, else the label; an image that is not here or has neither is named."""
    bench = Bench()
    bench.install(monkeypatch)
    source = Source(str(repository))
    with pytest.raises(ImageMissing, match="has no image"):
        await commands.lock(source)
    async with commands._resolved(source) as (_, commit):
        name = image_name("binderlet/i-", commit.slug, commit.sha)
    bench.images.images[name] = Image(name, "sha256:1")
    with pytest.raises(ImageMissing, match="has no lock"):
        await commands.lock(source)
    bench.images.images[name] = Image(name, "sha256:1", labels={LABEL: "label"})
    assert await commands.lock(source) == "label"
    bench.lock_file = json.dumps(LOCK)
    assert json.loads(await commands.lock(source)) == LOCK
    _, say = said()
    await commands.build_locked(source, str(repository), say)
    assert bench.requests[0].lock == LOCK


async def test_lock_that_is_not_there(commands: Local, repository: Path) -> None:
    """A file that does not exist is not taken for a repository."""
    _, say = said()
    with pytest.raises(BadSpec, match="is no file"):
        await commands.build_locked(Source(str(repository)), "/none/lock.json", say)
