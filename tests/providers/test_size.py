"""Sizes of folders and trees, and work that is ended when they grow too large."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Self

import pytest

from binderlet.errors import BadRepository, RefNotFound
from binderlet.providers import size
from binderlet.providers.size import TreeSize, folder_size, too_large, within


def test_folder_size(tmp_path: Path) -> None:
    """Files count wherever they are; links and absent folders do not."""
    assert folder_size(tmp_path / "absent") == 0
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "b" / "c").write_bytes(b"x" * 10)
    (tmp_path / "d").write_bytes(b"x" * 5)
    assert folder_size(tmp_path) == 15
    (tmp_path / "loop").symlink_to(tmp_path)
    assert folder_size(tmp_path) == 15 + len(str(tmp_path))


def test_folder_size_stops_early(tmp_path: Path) -> None:
    """Counting ends once there is enough."""
    for number in range(5):
        (tmp_path / str(number)).mkdir()
        (tmp_path / str(number) / "f").write_bytes(b"x" * 10)
    assert folder_size(tmp_path, 15) == 20


def test_folder_that_goes_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that is removed while it is counted is no error."""
    (tmp_path / "f").write_bytes(b"x")

    def gone(_: object, *, follow_symlinks: bool) -> os.stat_result:
        raise FileNotFoundError

    class Entry:
        is_dir = staticmethod(lambda *, follow_symlinks: False)  # noqa: ARG005 - os.DirEntry's signature
        stat = gone

    class Listing(list[Entry]):
        def __enter__(self) -> Self:
            return self

        def __exit__(self, *_: object) -> None:
            """Nothing to close."""

    monkeypatch.setattr("binderlet.providers.size.os.scandir", lambda _: Listing([Entry()]))
    assert folder_size(tmp_path) == 0


def test_too_large_message() -> None:
    """The error says the limit in a unit people use, and what to do."""
    error = too_large("https://h/r", 5 * 1024**3)
    assert "5,120 MiB" in error.message
    assert "repository_limit" in error.hint


async def test_within_gives_the_result(tmp_path: Path) -> None:
    """Work that stays within its limit just ends."""
    assert await within(asyncio.sleep(0, "done"), tmp_path, 10, "x") == "done"


async def test_within_ends_growing_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Work that grows a folder too much is ended at once; what was there before does not count."""
    monkeypatch.setattr(size, "_EVERY", 0.01)
    (tmp_path / "before").write_bytes(b"x" * 1000)
    ended = asyncio.Event()

    async def grow() -> None:
        try:
            for number in range(1000):
                await asyncio.to_thread((tmp_path / f"f{number}").write_bytes, b"x" * 10)
                await asyncio.sleep(0.01)
        finally:
            ended.set()

    with pytest.raises(BadRepository, match="larger than"):
        await within(grow(), tmp_path, 50, "x")
    assert ended.is_set()
    assert await asyncio.to_thread(folder_size, tmp_path) < 5000


async def test_within_passes_errors_on(tmp_path: Path) -> None:
    """An error of the work comes out as it is."""

    async def fail() -> None:
        await asyncio.sleep(0)
        raise RefNotFound("no")

    with pytest.raises(RefNotFound):
        await within(fail(), tmp_path, 10, "x")


async def test_within_can_be_cancelled(tmp_path: Path) -> None:
    """A deadline around it ends the work."""
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await within(asyncio.sleep(60), tmp_path, 10, "x")


def test_tree_size() -> None:
    """Sizes add up over pieces cut anywhere; a submodule has none."""
    tree = TreeSize(100)
    assert not tree.take(b"4")
    assert not tree.take(b"0\n-\n1")
    assert not tree.take(b"9\n")
    assert (tree.bytes, tree.files, tree.is_too_large) == (59, 3, False)
    assert tree.take(b"42\n")


def test_tree_of_many_files(monkeypatch: pytest.MonkeyPatch) -> None:
    """Too many files are too large, empty ones too."""
    monkeypatch.setattr(size, "MOST_FILES", 3)
    assert not TreeSize(100).take(b"0\n" * 3)
    assert TreeSize(100).take(b"0\n" * 4)
