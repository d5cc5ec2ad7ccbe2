"""Mirrors, against a real git server."""

from __future__ import annotations

import asyncio
import itertools
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from binderlet.clients.git import Git
from binderlet.errors import BadRepository, RefNotFound
from binderlet.providers.mirrors import Mirrors, remove
from support.gitserver import GitServer, Repository
from support.gitserver import git as run_git

LIMIT = 10**8


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    """A repository with three commits, the last of them the tip."""
    made = Repository(tmp_path / "served" / "r")
    for number in range(3):
        made.commit({"f": str(number)})
    return made


@pytest.fixture
def server(repository: Repository) -> Iterator[GitServer]:
    """A server of protocol version 2, as they are today."""
    with GitServer(repository.path.parent) as made:
        yield made


@pytest.fixture
def mirrors(tmp_path: Path) -> Mirrors:
    """Mirrors in a folder that is not there yet."""
    return Mirrors(Git(protocols=("http",), environment=os.environ), tmp_path / "deep" / "mirrors", limit=LIMIT)


async def content(mirror: Path, sha: str) -> str:
    """The file of a commit in a mirror."""
    return await asyncio.to_thread(run_git, mirror, "cat-file", "blob", f"{sha}:f")


async def get(mirrors: Mirrors, url: str, sha: str) -> str:
    """Have the mirror obtain a commit, and read its file there."""
    return await mirrors.use(url, sha, print, lambda mirror: content(mirror, sha))


async def test_one_commit_is_fetched(mirrors: Mirrors, server: GitServer, repository: Repository) -> None:
    """Only the commit asked for is fetched, tip or not, and nothing the second time."""
    url, sha = server.url("r"), repository.head
    older = run_git(repository.path, "rev-parse", "HEAD~1")
    assert await get(mirrors, url, sha) == "2"
    assert run_git(mirrors.path(url), "rev-list", "--all", "--count") == "1"
    asked = len(server.requests)
    assert await get(mirrors, url, sha) == "2"
    assert len(server.requests) == asked
    assert await get(mirrors, url, older) == "1"


def test_paths_are_by_content(mirrors: Mirrors, tmp_path: Path) -> None:
    """No URL leads out of the folder, and two URLs have two mirrors."""
    paths = {mirrors.path(url) for url in ("https://h/../../etc", "https://h/a", "https://h/A")}
    assert len(paths) == 3
    assert {path.parent for path in paths} == {tmp_path / "deep" / "mirrors"}


@pytest.mark.parametrize("first", ["tip", "older"])
async def test_old_servers(mirrors: Mirrors, repository: Repository, first: str) -> None:
    """A server that gives tips only is asked for the whole history, also when its tip is here already."""
    older = run_git(repository.path, "rev-parse", "HEAD~1")
    lines: list[str] = []
    with GitServer(repository.path.parent, any_sha=False, protocol_v2=False) as server:
        if first == "tip":
            assert await get(mirrors, server.url("r"), repository.head) == "2"
        url = server.url("r")
        assert await mirrors.use(url, older, lines.append, lambda mirror: content(mirror, older)) == "1"
    assert any("whole history" in line for line in lines)


async def test_absent_commit(mirrors: Mirrors, server: GitServer) -> None:
    """A commit the repository does not have is not found."""
    with pytest.raises(RefNotFound, match="has no commit 0000"):
        await get(mirrors, server.url("r"), "0" * 40)


async def test_broken_mirror(mirrors: Mirrors, server: GitServer, repository: Repository) -> None:
    """A mirror whose files are damaged is thrown away and fetched anew."""
    url, sha = server.url("r"), repository.head
    await get(mirrors, url, sha)

    async def read(mirror: Path) -> str:
        await Git(protocols=("http",), environment=os.environ).run(
            f"--git-dir={mirror}", "cat-file", "blob", f"{sha}:f", about=url
        )
        return await content(mirror, sha)

    for damage in ("truncate", "remove"):
        for file in [path for path in (mirrors.path(url) / "objects").rglob("*") if path.is_file()]:
            file.chmod(0o644)
            if damage == "truncate":
                file.write_bytes(b"\0" * 3)
            else:
                file.unlink()
        assert await mirrors.use(url, sha, print, read) == "2"


async def test_leftover_of_a_killed_fetch(mirrors: Mirrors, server: GitServer, repository: Repository) -> None:
    """Lock files that a killed git left do not stop the next fetch."""
    url = server.url("r")
    await get(mirrors, url, repository.head)
    (mirrors.path(url) / "shallow.lock").touch()
    older = run_git(repository.path, "rev-parse", "HEAD~1")
    assert await get(mirrors, url, older) == "1"


async def test_broken_for_good(mirrors: Mirrors, server: GitServer, repository: Repository) -> None:
    """What fails with a fresh mirror too is told."""

    async def fail(_: Path) -> None:
        raise BadRepository("still broken")

    with pytest.raises(BadRepository, match="still broken"):
        await mirrors.use(server.url("r"), repository.head, print, fail)


async def test_too_large(tmp_path: Path, server: GitServer, repository: Repository) -> None:
    """A fetch that grows above the limit is ended."""
    sha = repository.commit({"f": os.urandom(3_000_000)})
    server.delay = 0.1
    mirrors = Mirrors(Git(protocols=("http",), environment=os.environ), tmp_path / "m", limit=1_000_000)

    async def wait(_: Path) -> None:
        await asyncio.sleep(5)

    with pytest.raises(BadRepository, match="larger than"):
        await mirrors.use(server.url("r"), sha, print, wait)


async def test_short_ids(mirrors: Mirrors, server: GitServer, repository: Repository) -> None:
    """A short id is found among the commits of all branches and tags, the second time without the host."""
    url = server.url("r")
    older = run_git(repository.path, "rev-parse", "HEAD~2")
    assert await mirrors.expand(url, older[:8]) == older
    blobs = run_git(mirrors.path(url, "history.git"), "count-objects", "-v")
    assert "in-pack: 3" in blobs or "count: 3" in blobs  # three commits: no trees, no files
    shutil.rmtree(repository.path)
    assert await mirrors.expand(url, older[:6]) == older


async def test_short_ids_of_new_commits(mirrors: Mirrors, server: GitServer, repository: Repository) -> None:
    """A commit made later is found too."""
    url = server.url("r")
    await mirrors.expand(url, repository.head[:8])
    newer = repository.commit({"f": "newer"})
    assert await mirrors.expand(url, newer[:8]) == newer


async def test_absent_short_id(mirrors: Mirrors, server: GitServer, repository: Repository) -> None:
    """A short id that nothing starts with is not found, blobs and branch names not mistaken for commits."""
    repository.branch("deadbeef")
    blob = run_git(repository.path, "rev-parse", "HEAD:f")
    for short in ("0000000", "deadbeef", blob[:10]):
        with pytest.raises(RefNotFound, match=f"no branch, tag or commit named '{short}'"):
            await mirrors.expand(server.url("r"), short)


async def test_ambiguous_short_id(mirrors: Mirrors, server: GitServer, repository: Repository) -> None:
    """A short id of several commits says so."""
    stream = b"".join(
        b"commit refs/heads/many\ncommitter A <a@b> %d +0000\ndata 1\nx\n" % (1700000000 + number)
        for number in range(1500)
    )
    run_git(repository.path, "fast-import", "--quiet", stdin=stream)
    ids = sorted(run_git(repository.path, "rev-list", "many").split())
    short = next(a[:4] for a, b in itertools.pairwise(ids) if a[:4] == b[:4])
    with pytest.raises(RefNotFound, match="More than one") as caught:
        await mirrors.expand(server.url("r"), short)
    assert "more digits" in caught.value.hint


async def test_short_ids_without_filters(mirrors: Mirrors, repository: Repository) -> None:
    """A server that cannot give commits alone works too."""
    with GitServer(repository.path.parent, filters=False, protocol_v2=False) as server:
        assert await mirrors.expand(server.url("r"), repository.head[:8]) == repository.head


async def test_remove(tmp_path: Path) -> None:
    """Removing what is not there is no error."""
    (tmp_path / "a" / "b").mkdir(parents=True)
    await remove(tmp_path / "a")
    await remove(tmp_path / "a")
    assert not (tmp_path / "a").exists()
