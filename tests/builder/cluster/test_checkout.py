"""How a repository's files get into a builder pod, with a real tar."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from binderlet.builder.cluster.checkout import pack, unpack
from binderlet.errors import EngineUnavailable


class Way:
    """From one side to the other: what was put on it is read from it."""

    def __init__(self, *pieces: bytes) -> None:
        self.pieces = list(pieces)

    async def put(self, piece: bytes) -> None:
        """Put a piece on it."""
        self.pieces.append(piece)

    async def read(self) -> bytes:
        """Take the next one from it."""
        return self.pieces.pop(0) if self.pieces else b""


async def test_there_and_unpacked(tmp_path: Path) -> None:
    """What is packed here is there with its rights, links and folders."""
    here, there = tmp_path / "here", tmp_path / "there"

    def prepare() -> None:
        (here / "folder").mkdir(parents=True)
        there.mkdir()
        (here / "folder" / "postBuild").write_text("#!/bin/sh\n")
        (here / "folder" / "postBuild").chmod(0o755)
        (here / "link").symlink_to("folder/postBuild")
        (here / "large").write_bytes(bytes(10**6))

    await asyncio.to_thread(prepare)
    way = Way()
    assert await pack(here, way.put) is None
    await unpack(way.read, there, "b-0")

    def look() -> tuple[int, str, int]:
        script = there / "folder" / "postBuild"
        return script.stat().st_mode & 0o777, (there / "link").read_text(), (there / "large").stat().st_size

    assert await asyncio.to_thread(look) == (0o755, "#!/bin/sh\n", 10**6)


async def test_nothing_comes(tmp_path: Path) -> None:
    """An order without a checkout needs no tar."""
    await unpack(Way().read, tmp_path, "b-0", program="/nonexistent/tar")


async def test_given_up(tmp_path: Path) -> None:
    """A checkout that nobody takes to the end leaves no program running."""
    await asyncio.to_thread((tmp_path / "large").write_bytes, bytes(10**7))

    async def lost(_piece: bytes) -> None:
        raise ConnectionError

    with pytest.raises(ConnectionError):
        await pack(tmp_path, lost)


async def test_no_tar(tmp_path: Path) -> None:
    """A machine and a pod without tar are told apart, each with what to do."""
    problem = await pack(tmp_path, Way().put, program="/nonexistent/tar")
    assert problem is not None
    assert "tar does not start here (No such file" in problem.message
    assert "Install tar" in problem.hint
    with pytest.raises(EngineUnavailable, match="in builder pod b-0: no tar starts") as caught:
        await unpack(Way(b"x").read, tmp_path, "b-0", program="/nonexistent/tar")
    assert "binderlet builder-image" in caught.value.hint


async def test_not_all_can_be_read(tmp_path: Path) -> None:
    """A folder that is not there, or not readable, is no archive of less."""
    problem = await pack(tmp_path / "gone", Way().put)
    assert problem is not None
    assert "could not be sent to a builder pod: " in problem.message
    assert "gone: Cannot open: No such file" in problem.message


async def test_not_all_arrives(tmp_path: Path) -> None:
    """What tar says in the pod is said, with the pod's name."""
    with pytest.raises(EngineUnavailable, match=r"whole in builder pod b-0: .*not look like a tar archive") as caught:
        await unpack(Way(b"no archive" * 1000).read, tmp_path, "b-0")
    assert "delete the pod" in caught.value.hint


async def test_tar_ends_before_the_archive(tmp_path: Path) -> None:
    """A tar that ends early, without a word, is an error of its own; what still comes is not waited for."""

    async def endless() -> bytes:
        return bytes(10**5)

    with pytest.raises(EngineUnavailable, match="did not say why"):
        await unpack(endless, tmp_path, "b-0", program="false")
