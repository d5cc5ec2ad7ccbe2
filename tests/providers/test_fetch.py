"""Checkouts, against a real git server."""

from __future__ import annotations

import asyncio
import os
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from binderlet.clients.git import Git
from binderlet.errors import BadRepository, ProviderUnavailable
from binderlet.model import Commit
from binderlet.providers.fetch import Fetcher
from binderlet.providers.mirrors import Mirrors, remove
from support.gitserver import GitServer, Link, Program, Repository, make_large_repository, make_repository
from support.gitserver import git as run_git

LIMIT = 10**8
HTTP = ("http",)


@pytest.fixture
def served(tmp_path: Path) -> Path:
    """The folder of the server's repositories."""
    (tmp_path / "served").mkdir()
    return tmp_path / "served"


@pytest.fixture
def server(served: Path) -> Iterator[GitServer]:
    """A server."""
    with GitServer(served) as made:
        yield made


def make_fetcher(
    folder: Path, *, seconds: float = 60, limit: int = LIMIT, environment: Mapping[str, str] = os.environ
) -> Fetcher:
    """A fetcher with mirrors of its own."""
    git = Git(protocols=HTTP, environment=environment)
    mirrors = Mirrors(git, folder / "mirrors", limit=limit)
    return Fetcher(git, mirrors, seconds=seconds, limit=limit, protocols=HTTP)


def commit_of(url: str, sha: str) -> Commit:
    """A commit of a repository on the server."""
    return Commit("git", sha, url, url, url, f"x/{sha}", url, "o")


def nothing_left(folder: Path) -> bool:
    """Whether neither the destination nor a part of it is there."""
    return not [path for path in folder.iterdir() if "out" in path.name]


async def test_odd_files(tmp_path: Path, served: Path, server: GitServer) -> None:
    """Odd names, links, modes and line ends arrive as they were committed."""
    names = ["with space", "quo'te\"s", "new\nline", "\u00fcml\u00e4ut", "-dash", "back\\slash", "tab\t", "*?[", "%2F"]
    files = {name: f"content of {name}" for name in names}
    sha = make_repository(
        served / "r",
        {
            **files,
            "latin1.txt": b"caf\xe9\r\n",
            "run": Program("#!/bin/sh\n"),
            "deep/link": Link("../latin1.txt"),
            "out": Link("/etc/passwd"),
        },
    )
    await make_fetcher(tmp_path).fetch(commit_of(server.url("r"), sha), tmp_path / "out", print)
    out = tmp_path / "out"
    assert {name: (out / name).read_text() for name in names} == files
    assert (out / "latin1.txt").read_bytes() == b"caf\xe9\r\n"
    assert (out / "run").stat().st_mode & stat.S_IXUSR
    assert not (out / "latin1.txt").stat().st_mode & stat.S_IXUSR
    assert str((out / "deep" / "link").readlink()) == "../latin1.txt"
    assert str((out / "out").readlink()) == "/etc/passwd"
    assert run_git(out, "status", "--porcelain") == ""
    assert run_git(out, "rev-parse", "HEAD") == sha
    assert run_git(out, "remote", "get-url", "origin") == server.url("r")


async def test_nothing_says_where_it_was_made(tmp_path: Path, served: Path, server: GitServer) -> None:
    """The checkout goes into an image: no file in it, and no log line, names a folder of this machine."""
    make_repository(served / "sub", {"s": "s"})
    repository = Repository(served / "r")
    repository.commit({"f": "1"})
    sha = repository.submodule(server.url("sub"), "deps/sub")
    lines: list[str] = []
    await make_fetcher(tmp_path).fetch(commit_of(server.url("r"), sha), tmp_path / "out", lines.append)
    texts = [path.read_bytes() for path in (tmp_path / "out").rglob("*") if path.is_file()]
    assert not [text for text in texts if str(tmp_path).encode() in text]
    assert not [line for line in lines if str(tmp_path) in line]


@pytest.mark.timeout(120)  # the disk is what takes the time
async def test_100000_files(tmp_path: Path, served: Path, server: GitServer) -> None:
    """A repository of a hundred thousand files is fetched whole."""
    sha = await asyncio.to_thread(make_large_repository, served / "r", 100_000)
    lines: list[str] = []
    await make_fetcher(tmp_path).fetch(commit_of(server.url("r"), sha), tmp_path / "out", lines.append)
    assert lines[-1] == "Checked out 100,000 files"
    assert (tmp_path / "out" / "d99" / "f99999.txt").read_text() == "99999\n"
    # left to pytest, removing them would take the time of a test in a later run
    await remove(tmp_path / "out")


async def test_too_large_when_unpacked(tmp_path: Path, served: Path, server: GitServer) -> None:
    """A small pack of large files is refused before they are written."""
    sha = make_repository(served / "r", {f"zeros{n}": bytes(1_000_000) + bytes([n]) for n in range(5)})
    with pytest.raises(BadRepository, match="larger than the 3 MiB"):
        await make_fetcher(tmp_path, limit=3 * 2**20).fetch(commit_of(server.url("r"), sha), tmp_path / "out", print)
    assert nothing_left(tmp_path)


async def test_tree_that_names_itself_often(
    tmp_path: Path, served: Path, server: GitServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A tree of ten billion names for one file is refused after the first so many."""
    monkeypatch.setattr("binderlet.providers.size.MOST_FILES", 10_000)
    repository = Repository(served / "r")
    entry = f"100644 blob {run_git(repository.path, 'hash-object', '-w', '--stdin', stdin=b'')}"
    for _ in range(10):
        listing = "".join(f"{entry}\tf{number}\n" for number in range(10))
        entry = f"040000 tree {run_git(repository.path, 'mktree', stdin=listing.encode())}"
    sha = run_git(repository.path, "commit-tree", "-m", "bomb", entry.split()[2])
    run_git(repository.path, "update-ref", "refs/heads/main", sha)
    with pytest.raises(BadRepository, match="larger than"):
        await make_fetcher(tmp_path).fetch(commit_of(server.url("r"), sha), tmp_path / "out", print)
    assert nothing_left(tmp_path)


async def test_too_large_with_submodules(tmp_path: Path, served: Path, server: GitServer) -> None:
    """Submodules count too."""
    make_repository(served / "sub", {"data": os.urandom(3_000_000)})
    repository = Repository(served / "r")
    repository.commit({"f": "1"})
    sha = repository.submodule(server.url("sub"), "sub")
    with pytest.raises(BadRepository, match="larger than"):
        await make_fetcher(tmp_path, limit=2_000_000).fetch(commit_of(server.url("r"), sha), tmp_path / "out", print)
    assert nothing_left(tmp_path)


async def test_deadline(tmp_path: Path, served: Path, server: GitServer) -> None:
    """A fetch that takes too long is ended, and leaves nothing."""
    sha = make_repository(served / "r", {"f": "1"})
    server.delay = 2
    (tmp_path / "out").mkdir()
    with pytest.raises(ProviderUnavailable, match=r"longer than 0\.3 s"):
        await make_fetcher(tmp_path, seconds=0.3).fetch(commit_of(server.url("r"), sha), tmp_path / "out", print)
    assert nothing_left(tmp_path)


async def test_cancelled(tmp_path: Path, served: Path, server: GitServer) -> None:
    """A cancelled fetch leaves nothing, and the next one succeeds."""
    sha = make_repository(served / "r", {"f": "1"})
    fetcher, commit = make_fetcher(tmp_path), commit_of(server.url("r"), sha)
    server.delay = 2
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.2):
            await fetcher.fetch(commit, tmp_path / "out", print)
    assert nothing_left(tmp_path)
    server.delay = 0
    await fetcher.fetch(commit, tmp_path / "out", print)
    assert (tmp_path / "out" / "f").exists()


async def test_part_left_by_a_killed_process(tmp_path: Path, served: Path, server: GitServer) -> None:
    """What an earlier process left half done is replaced."""
    sha = make_repository(served / "r", {"f": "1"})
    (tmp_path / ".out.part" / ".git").mkdir(parents=True)
    (tmp_path / ".out.part" / "stale").touch()
    await make_fetcher(tmp_path).fetch(commit_of(server.url("r"), sha), tmp_path / "out", print)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [".git", "f"]


async def test_submodules(tmp_path: Path, served: Path, server: GitServer) -> None:
    """Submodules come with theirs, at the commits named, with relative URLs too."""
    inner = Repository(served / "inner")
    inner.commit({"i": "old"})
    middle = Repository(served / "middle")
    middle.commit({"m": "1"})
    middle.submodule(server.url("inner"), "inner")
    inner.commit({"i": "new"})
    outer = Repository(served / "outer")
    outer.commit({"o": "1"})
    outer.submodule(server.url("middle"), "middle")
    modules = (outer.path / ".gitmodules").read_text()
    sha = outer.commit({".gitmodules": modules.replace(server.url("middle"), "../middle")})
    await make_fetcher(tmp_path).fetch(commit_of(server.url("outer"), sha), tmp_path / "out", print)
    assert (tmp_path / "out" / "middle" / "inner" / "i").read_text() == "old"


async def test_submodule_of_an_old_server(tmp_path: Path, served: Path, server: GitServer) -> None:
    """Where a submodule's commit is no tip and the server gives tips only, its history is fetched."""
    sub = Repository(served / "sub")
    sub.commit({"s": "old"})
    outer = Repository(served / "outer")
    outer.commit({"o": "1"})
    with GitServer(served, any_sha=False, protocol_v2=False) as old:
        sha = outer.submodule(old.url("sub"), "sub")
        sub.commit({"s": "new"})
        await make_fetcher(tmp_path).fetch(commit_of(server.url("outer"), sha), tmp_path / "out", print)
    assert (tmp_path / "out" / "sub" / "s").read_text() == "old"


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:9/gone",
        "{base}/nosuch",
        "file://{served}/secret",
        "{served}/secret",
        "ext::sh -c 'touch% {served}/owned'",
    ],
)
async def test_bad_submodules(tmp_path: Path, served: Path, server: GitServer, url: str) -> None:
    """A submodule that is gone, or on this machine's disk, or a command, fails the fetch and says which."""
    make_repository(served / "secret", {"s": "secret"})
    repository = Repository(served / "r")
    head = repository.commit({"f": "1"})
    address = url.format(base=server.base, served=served)
    run_git(repository.path, "update-index", "--add", "--cacheinfo", f"160000,{head},sub")
    (repository.path / ".gitmodules").write_text(f'[submodule "sub"]\n\tpath = sub\n\turl = "{address}"\n')
    run_git(repository.path, "add", ".gitmodules")
    run_git(repository.path, "commit", "-qm", "Add a bad submodule")
    expected = ProviderUnavailable if "9/gone" in url else BadRepository
    with pytest.raises(expected) as caught:
        await make_fetcher(tmp_path).fetch(commit_of(server.url("r"), repository.head), tmp_path / "out", print)
    if expected is BadRepository:
        assert "submodule" in caught.value.message
    assert nothing_left(tmp_path)
    assert not (served / "owned").exists()


async def test_submodules_that_run_programs(tmp_path: Path, served: Path, server: GitServer) -> None:
    """No program that a repository names runs: hooks, update commands, filters, monitors."""
    make_repository(served / "sub", {"s": "1"})
    repository = Repository(served / "r")
    touch = f"touch {served}/owned"
    repository.commit(
        {
            ".gitattributes": "* filter=evil\n",
            ".gitconfig": f'[filter "evil"]\n\tsmudge = {touch}\n[core]\n\tfsmonitor = {touch}\n',
            "hooks/post-checkout": Program(f"#!/bin/sh\n{touch}\n"),
            ".githooks/post-checkout": Program(f"#!/bin/sh\n{touch}\n"),
        }
    )
    repository.submodule(server.url("sub"), "sub")
    modules = (repository.path / ".gitmodules").read_text()
    sha = repository.commit({".gitmodules": f"{modules}\tupdate = !{touch}\n"})
    with pytest.raises(BadRepository):
        await make_fetcher(tmp_path).fetch(commit_of(server.url("r"), sha), tmp_path / "out", print)
    assert not (served / "owned").exists()
    sha = repository.commit({".gitmodules": modules})
    await make_fetcher(tmp_path).fetch(commit_of(server.url("r"), sha), tmp_path / "out", print)
    assert not (served / "owned").exists()


async def test_lfs(tmp_path: Path, served: Path, server: GitServer) -> None:
    """LFS files are put in place, in submodules too, and kept for the next checkout instead of in ``.git``."""
    attributes = {".gitattributes": "*.bin filter=lfs diff=lfs merge=lfs -text\n"}
    make_repository(served / "sub", {**attributes, "s.bin": server.add_lfs(b"in the submodule")})
    repository = Repository(served / "r")
    repository.commit({**attributes, "a.bin": server.add_lfs(b"large")})
    sha = repository.submodule(server.url("sub"), "sub \u00fc")
    fetcher, commit = make_fetcher(tmp_path), commit_of(server.url("r"), sha)
    await fetcher.fetch(commit, tmp_path / "out", print)
    assert (tmp_path / "out" / "a.bin").read_bytes() == b"large"
    assert (tmp_path / "out" / "sub \u00fc" / "s.bin").read_bytes() == b"in the submodule"
    assert not list((tmp_path / "out" / ".git").rglob("lfs/objects/*/*/*"))
    asked = len([line for line in server.requests if "/.lfs/" in line])
    await fetcher.fetch(commit, tmp_path / "again_out", print)
    assert (tmp_path / "again_out" / "a.bin").read_bytes() == b"large"
    assert len([line for line in server.requests if "/.lfs/" in line]) == asked


async def test_size_of_all_together(tmp_path: Path, served: Path, server: GitServer) -> None:
    """``.git`` and LFS files count too, together with the files."""
    attributes = {".gitattributes": "*.bin filter=lfs diff=lfs merge=lfs -text\n"}
    plain = os.urandom(700_000)
    sha = make_repository(served / "r", {**attributes, "a.bin": server.add_lfs(b"x" * 700_000), "b": plain})
    with pytest.raises(BadRepository, match="larger than"):
        await make_fetcher(tmp_path, limit=1_000_000).fetch(commit_of(server.url("r"), sha), tmp_path / "out", print)
    assert nothing_left(tmp_path)
