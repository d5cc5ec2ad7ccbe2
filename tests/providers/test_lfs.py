"""Git LFS, with the real git-lfs."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from binderlet.clients.git import Git
from binderlet.errors import BadRepository, ProviderUnavailable
from binderlet.providers.lfs import LfsFiles, size_in_pointer
from support.gitserver import GitServer, lfs_pointer, make_repository
from support.gitserver import git as run_git

ATTRIBUTES = {".gitattributes": "*.bin filter=lfs diff=lfs merge=lfs -text\n"}
LIMIT = 10**6


@pytest.fixture
def server(tmp_path: Path) -> Iterator[GitServer]:
    """A server with an LFS store."""
    (tmp_path / "served").mkdir()
    with GitServer(tmp_path / "served") as made:
        yield made


def checkout(tmp_path: Path, server: GitServer, files: dict[str, str]) -> Path:
    """Clone a repository with these files, pointers as they are."""
    make_repository(tmp_path / "served" / "r", {**ATTRIBUTES, **files})
    run_git(tmp_path, "clone", "--quiet", server.url("r"), "tree")
    return tmp_path / "tree"


async def pull(tree: Path, server: GitServer, *, limit: int = LIMIT, program: str = "git") -> list[str]:
    """Pull, and give back the log."""
    lines: list[str] = []
    git = Git(protocols=("http",), environment=os.environ, program=program)
    files = LfsFiles(git, protocols=("http",))
    await files.pull(tree, tree.parent / "store", limit, about=server.url("r"), log=lines.append)
    return lines


@pytest.mark.parametrize(
    ("text", "size"),
    [(lfs_pointer(b"x" * 12345), 12345), ("size 5\n", 0), ("", 0), ("version https://git-lfs.github.com/spec/v1\n", 0)],
)
def test_size_in_pointer(tmp_path: Path, text: str, size: int) -> None:
    """A pointer's size is read, other files have none."""
    (tmp_path / "f").write_text(text)
    assert size_in_pointer(tmp_path / "f") == size


def test_size_in_no_file(tmp_path: Path) -> None:
    """Links, folders and absent files have none either."""
    (tmp_path / "f").write_text(lfs_pointer(b"x"))
    (tmp_path / "link").symlink_to(tmp_path / "f")
    assert [size_in_pointer(tmp_path / name) for name in ("link", "", "absent")] == [0, 0, 0]


async def test_files_in_place(tmp_path: Path, server: GitServer) -> None:
    """Pointers are replaced by their files, whatever their names."""
    tree = checkout(
        tmp_path, server, {"a.bin": server.add_lfs(b"one"), "b \u00fc'\n.bin": server.add_lfs(b"two"), "c.txt": "c"}
    )
    lines = await pull(tree, server)
    assert (tree / "a.bin").read_bytes() == b"one"
    assert (tree / "b \u00fc'\n.bin").read_bytes() == b"two"
    assert "Fetching 2 files from Git LFS" in lines


async def test_none(tmp_path: Path, server: GitServer) -> None:
    """Without LFS files nothing is said or asked."""
    tree = checkout(tmp_path, server, {"c.txt": "c"})
    assert await pull(tree, server) == []


async def test_not_installed(tmp_path: Path, server: GitServer) -> None:
    """Without git-lfs pointers stay, and the log says so."""
    tree = checkout(tmp_path, server, {"a.bin": server.add_lfs(b"one")})
    program = tmp_path / "git-without-lfs"
    program.write_text('#!/bin/sh\n[ "$1" = lfs ] && exit 1\nexec git "$@"\n')
    program.chmod(0o755)
    (line,) = await pull(tree, server, program=str(program))
    assert "git-lfs is not installed" in line
    assert (tree / "a.bin").read_text().startswith("version")


async def test_too_large(tmp_path: Path, server: GitServer) -> None:
    """The sizes in the pointers are believed before anything is fetched."""
    tree = checkout(tmp_path, server, {"a.bin": server.add_lfs(b"x" * 600), "b.bin": server.add_lfs(b"y" * 600)})
    asked = len(server.requests)
    with pytest.raises(BadRepository, match="larger than"):
        await pull(tree, server, limit=1000)
    assert len(server.requests) == asked


async def test_missing_file(tmp_path: Path, server: GitServer) -> None:
    """A file that the store does not have fails, and says that it is about LFS."""
    tree = checkout(tmp_path, server, {"a.bin": lfs_pointer(b"never uploaded")})
    with pytest.raises(BadRepository, match="Git LFS"):
        await pull(tree, server)


async def test_store_away(tmp_path: Path, server: GitServer) -> None:
    """A store that is away is unavailable."""
    tree = checkout(tmp_path, server, {"a.bin": server.add_lfs(b"one")})
    server.close()
    with pytest.raises(ProviderUnavailable):
        await pull(tree, server)


@pytest.mark.parametrize("url", ["file:///srv/secret", "ssh://h/x", "/srv/secret"])
async def test_forbidden_store(tmp_path: Path, server: GitServer, url: str) -> None:
    """A repository cannot lead git-lfs to this machine's disk."""
    tree = checkout(tmp_path, server, {"a.bin": server.add_lfs(b"one"), ".lfsconfig": f"[lfs]\n\turl = {url}\n"})
    with pytest.raises(BadRepository, match=r"\.lfsconfig leads to"):
        await pull(tree, server)


async def test_store_elsewhere(tmp_path: Path, server: GitServer) -> None:
    """A repository may keep its files at another host."""
    config = f"[lfs]\n\turl = {server.base}/elsewhere/info/lfs\n\tfetchexclude = none\n"
    tree = checkout(tmp_path, server, {"a.bin": server.add_lfs(b"one"), ".lfsconfig": config})
    await pull(tree, server)
    assert (tree / "a.bin").read_bytes() == b"one"
