"""The ``gh`` repo provider: specs, values, and the API; ``test_contract.py`` has its work with git."""

from __future__ import annotations

import json
import os
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from binderlet.config.providers import GitHubProviderSettings, GitProviderSettings
from binderlet.errors import BadSpec, RefNotFound, RepositoryNotFound
from binderlet.providers.github import GitHubProvider, GitHubSpec, display_of, parse
from support.forge_server import ForgeServer
from support.gitserver import GitServer, Repository

SHA = "f7f3ff6d1bf708bdc12e5f10e18b2a90a4795603"
DISPLAY = json.loads(
    '{"displayName":"GitHub","id":"gh","spec":{"validateRegex":"[^/]+/[^/]+/.+"},'
    '"detect":{"regex":"^(https?://github.com/)?(?<repo>.*[^/])/?"},"repo":{"label":"GitHub repository name or URL",'
    '"placeholder":"example: binder-examples/requirements or https://github.com/binder-examples/requirements",'
    '"urlEncode":false},"ref":{"enabled":true,"default":"HEAD"}}'
)


def make(tmp_path: Path, **settings: object) -> GitHubProvider:
    """A provider with these settings."""
    return GitHubProvider(
        GitHubProviderSettings.model_validate(settings),
        git=GitProviderSettings(ref_cache=0, timeout=10),
        mirrors=tmp_path / "m",
        size_limit=10**8,
        environment=os.environ,
    )


@pytest.mark.parametrize(
    ("spec", "parts"),
    [
        ("a/b/main", ("a", "b", "main")),
        ("a/b.git/main", ("a", "b", "main")),
        ("a/b/feature/x", ("a", "b", "feature/x")),
        ("a/b/feature%2Fx", ("a", "b", "feature/x")),
        ("a-1/b.c_d/v1.0", ("a-1", "b.c_d", "v1.0")),
    ],
)
def test_specs(spec: str, parts: tuple[str, str, str]) -> None:
    """User, repository and ref, which may have slashes."""
    assert parse(spec) == GitHubSpec(*parts)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("x/y", 'Spec is not of the form "user/repo/ref", provided: "x/y". Did you mean "x/y/HEAD"?'),
        ("x/y/", 'Spec is not of the form "user/repo/ref", provided: "x/y/". Did you mean "x/y/HEAD"?'),
        ("x", 'Spec is not of the form "user/repo/ref", provided: "x".'),
        ("../y/HEAD", "../y cannot be the name of a GitHub repository."),
        ("x/.git/HEAD", "x/ cannot be the name of a GitHub repository."),
        ("x/a%2Fb/HEAD", "x/a/b cannot be the name of a GitHub repository."),
        ("x%3F/b/HEAD", "x?/b cannot be the name of a GitHub repository."),
    ],
)
def test_bad_specs(spec: str, message: str) -> None:
    """The message is BinderHub's, with its advice where a ref is missing."""
    with pytest.raises(BadSpec) as caught:
        parse(spec)
    assert caught.value.message == message


def test_check(tmp_path: Path) -> None:
    """A spec is checked without I/O."""
    provider = make(tmp_path)
    provider.check("a/b/main")
    with pytest.raises(BadSpec):
        provider.check("a/b")


def test_display(tmp_path: Path) -> None:
    """The entry is BinderHub's, in its order; another host is named in it."""
    assert json.dumps(dict(make(tmp_path).display)) == json.dumps(DISPLAY)
    assert "git.example.org" in display_of("git.example.org")["detect"]["regex"]


async def test_values(tmp_path: Path) -> None:
    """A commit has BinderHub's slug, URLs and resolved spec."""
    provider = make(tmp_path)
    commit = await provider.resolve(f"JupyterHub/zero-to-jupyterhub-k8s.git/{SHA}")
    assert commit.provider == "gh"
    assert commit.sha == SHA
    assert commit.clone_url == commit.repo_url == "https://github.com/JupyterHub/zero-to-jupyterhub-k8s"
    assert commit.ref_url == f"https://github.com/JupyterHub/zero-to-jupyterhub-k8s/tree/{SHA}"
    assert commit.resolved_spec == f"JupyterHub/zero-to-jupyterhub-k8s/{SHA}"
    assert commit.slug == "JupyterHub-zero-to-jupyterhub-k8s"
    assert commit.owner == "github.com/jupyterhub"
    await provider.close()


@dataclass(frozen=True)
class Hosts:
    """GitHub's two sides: git, and the API."""

    git: GitServer
    api: ForgeServer
    head: str


@pytest.fixture
def hosts(tmp_path: Path) -> Iterator[Hosts]:
    """A repository ``o/r`` whose default branch is ``trunk``; only the API knows a branch ``api-only``."""
    repository = Repository(tmp_path / "served" / "o" / "r", branch="trunk")
    head = repository.commit({"f": "1"})
    refs = {"HEAD": head, "trunk": head, "api-only": SHA, head[:7]: head}
    with GitServer(tmp_path / "served") as git, ForgeServer({"o/r": refs}) as api:
        yield Hosts(git, api, head)


@pytest.fixture
async def by_api(tmp_path: Path, hosts: Hosts) -> AsyncIterator[GitHubProvider]:
    """A provider that asks the API first."""
    provider = make(tmp_path, base_url=hosts.git.base, api_url=hosts.api.base, resolve="api")
    yield provider
    await provider.close()


async def test_old_default_branch(tmp_path: Path, hosts: Hosts) -> None:
    """``master`` and ``main`` mean the default branch where they do not exist; no other name does."""
    provider = make(tmp_path, base_url=f"{hosts.git.base}/")
    for ref in ("master", "main"):
        commit = await provider.resolve(f"o/r/{ref}")
        assert commit.resolved_spec == f"o/r/{hosts.head}"
    with pytest.raises(RefNotFound):
        await provider.resolve("o/r/develop")
    assert not hosts.api.requests
    await provider.close()


async def test_by_api(by_api: GitHubProvider, hosts: Hosts) -> None:
    """With ``resolve = "api"`` the API answers, git is not asked."""
    assert (await by_api.resolve("o/r/api-only")).sha == SHA
    assert (await by_api.resolve(f"o/r/{hosts.head[:7]}")).sha == hosts.head
    assert (await by_api.resolve("o/r/main")).sha == hosts.head
    with pytest.raises(RepositoryNotFound):
        await by_api.resolve("o/nosuch/main")
    assert not hosts.git.requests


async def test_whole_ids_ask_nobody(by_api: GitHubProvider, hosts: Hosts) -> None:
    """A whole commit id is not looked up, by the API neither."""
    assert (await by_api.resolve(f"o/r/{SHA}")).sha == SHA
    assert not hosts.api.requests


async def test_git_when_the_quota_is_used_up(by_api: GitHubProvider, hosts: Hosts) -> None:
    """When the API refuses, git is asked."""
    hosts.api.quota = 0
    assert (await by_api.resolve("o/r/trunk")).sha == hosts.head
    with pytest.raises(RefNotFound):
        await by_api.resolve("o/r/api-only")


async def test_fetch(by_api: GitHubProvider, tmp_path: Path) -> None:
    """Files come from the base URL."""
    commit = await by_api.resolve("o/r/HEAD")
    await by_api.fetch(commit, tmp_path / "out", print)
    assert (tmp_path / "out" / "f").read_text() == "1"


async def test_base_on_disk(tmp_path: Path, hosts: Hosts) -> None:
    """An operator may name any base, a folder too."""
    provider = make(tmp_path, base_url=f"file://{tmp_path}/served")
    assert (await provider.resolve("o/r/trunk")).sha == hosts.head
    await provider.close()
