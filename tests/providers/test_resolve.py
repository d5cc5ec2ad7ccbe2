"""Resolving with git alone."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from binderlet.clients.git import Git
from binderlet.errors import ProviderUnavailable, RefNotFound
from binderlet.providers.mirrors import Mirrors
from binderlet.providers.resolve import Resolver
from support.gitserver import GitServer, Repository
from support.gitserver import git as run_git


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    """A repository with one commit and a pull request."""
    made = Repository(tmp_path / "served" / "r")
    made.commit({"f": "1"})
    run_git(made.path, "update-ref", "refs/pull/7/head", "HEAD")
    return made


@pytest.fixture
def server(repository: Repository) -> Iterator[GitServer]:
    """A server."""
    with GitServer(repository.path.parent) as made:
        yield made


@pytest.fixture
def resolver(tmp_path: Path) -> Resolver:
    """A resolver that waits half a second at most."""
    git = Git(protocols=("http",), environment=os.environ)
    return Resolver(git, Mirrors(git, tmp_path / "mirrors", limit=10**8), seconds=5)


async def test_pull_requests(resolver: Resolver, server: GitServer, repository: Repository) -> None:
    """Refs that are neither branch nor tag are found by their names below ``refs/``."""
    for ref in ("pull/7/head", "refs/pull/7/head"):
        assert await resolver.resolve(server.url("r"), ref) == repository.head
    with pytest.raises(RefNotFound):
        await resolver.resolve(server.url("r"), "pull/8/head")


async def test_branch_of_hexadecimal_name(resolver: Resolver, server: GitServer, repository: Repository) -> None:
    """A branch whose name could be a short id is the branch."""
    old = repository.head
    repository.branch("deadbeef")
    repository.commit({"f": "2"})
    assert await resolver.resolve(server.url("r"), "deadbeef") == old


async def test_short_id(resolver: Resolver, server: GitServer, repository: Repository) -> None:
    """A short id is found whatever its case."""
    assert await resolver.resolve(server.url("r"), repository.head[:9].upper()) == repository.head


async def test_empty_repository(resolver: Resolver, server: GitServer, tmp_path: Path) -> None:
    """A repository without commits says that."""
    Repository(tmp_path / "served" / "empty")
    with pytest.raises(RefNotFound, match="no commits yet"):
        await resolver.resolve(server.url("empty"), "HEAD")


async def test_whole_id(resolver: Resolver) -> None:
    """A whole id is given back in lower case, without I/O."""
    assert await resolver.resolve("http://127.0.0.1:9/gone", "AB" * 20) == "ab" * 20


async def test_slow_host(tmp_path: Path, server: GitServer) -> None:
    """A host that takes too long is unavailable."""
    git = Git(protocols=("http",), environment=os.environ)
    resolver = Resolver(git, Mirrors(git, tmp_path / "mirrors", limit=10**8), seconds=0.3)
    server.delay = 2.0
    with pytest.raises(ProviderUnavailable, match=r"within 0\.3 s"):
        await resolver.resolve(server.url("r"), "main")
