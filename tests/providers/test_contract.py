"""What every repo provider does, run against each of them."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import pytest

from binderlet.config.providers import GitHubProviderSettings, GitProviderSettings
from binderlet.errors import BadSpec, ProviderUnavailable, RefNotFound, RepositoryNotFound
from binderlet.model import Commit
from binderlet.providers.base import Provider
from binderlet.providers.fake import FakeProvider, FakeRepository
from binderlet.providers.git import GitProvider
from binderlet.providers.github import GitHubProvider
from support.gitserver import GitServer, Repository

OLD = {"README.md": b"old\n", "binder/requirements.txt": b"six\n"}
NEW = {"README.md": b"new\n", "binder/requirements.txt": b"six\n", "a b/'\"\u00fc\n.txt": b"odd\n"}
ABSENT = "0123456789abcdef0123456789abcdef01234567"
SIZE_LIMIT = 10**8


@dataclass(frozen=True)
class World:
    """A provider, and a repository ``owner/demo`` it knows, with two commits."""

    provider: Provider
    old: str
    new: str
    spec: Callable[[str, str], str]
    """From ``owner/name`` and ref to a spec."""
    stop: Callable[[], None]
    """Makes the host answer no more."""

    def demo(self, ref: str) -> str:
        """The spec of ``owner/demo`` at a ref."""
        return self.spec("owner/demo", ref)


def populate(folder: Path) -> tuple[str, str]:
    """Make the repository; gives back its commits, old and new."""
    repository = Repository(folder / "owner" / "demo")
    old = repository.commit(dict(OLD))
    repository.branch("a/main")
    repository.tag("v1.0", annotated=True)
    new = repository.commit(dict(NEW))
    repository.tag("light")
    repository.branch("both", new)
    repository.tag("both", old)
    return old, new


@asynccontextmanager
async def real_world(kind: str, folder: Path) -> AsyncIterator[World]:
    """A provider that speaks git with a real server."""
    old, new = populate(folder / "served")
    settings = GitProviderSettings(ref_cache=0.0, timeout=10.0)
    with GitServer(folder / "served") as server:
        common = {"mirrors": folder / "mirrors", "size_limit": SIZE_LIMIT, "environment": os.environ}
        provider: Provider
        if kind == "git":
            provider = GitProvider(settings, **common)  # type: ignore[arg-type]  # the values' types differ
        else:
            provider = GitHubProvider(
                GitHubProviderSettings(base_url=server.base),
                git=settings,
                **common,  # type: ignore[arg-type]  # as above
            )

        def spec(name: str, ref: str) -> str:
            return f"{name if kind == 'gh' else quote(server.url(name), safe='')}/{ref}"

        yield World(provider, old, new, spec, server.close)
        await provider.close()


@asynccontextmanager
async def fake_world() -> AsyncIterator[World]:
    """The fake."""
    old, new = "a" * 40, "b" * 40
    refs = {
        "HEAD": new,
        "refs/heads/main": new,
        "refs/heads/a/main": old,
        "refs/heads/both": new,
        "refs/tags/both": old,
        "refs/tags/light": new,
        "refs/tags/v1.0": "c" * 40,
        "refs/tags/v1.0^{}": old,
    }
    provider = FakeProvider({"owner/demo": FakeRepository(refs, {old: OLD, new: NEW})})

    def stop() -> None:
        provider.down = True

    yield World(provider, old, new, lambda name, ref: f"{name}/{ref}", stop)
    await provider.close()


@pytest.fixture(params=["fake", "git", "gh"])
async def world(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[World]:
    """Each provider in turn."""
    kind: str = request.param
    async with fake_world() if kind == "fake" else real_world(kind, tmp_path) as made:
        yield made


def files_of(folder: Path) -> dict[str, bytes]:
    """The files of a checkout, without ``.git``."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and ".git" not in path.relative_to(folder).parts
    }


@pytest.mark.parametrize(
    ("ref", "which"),
    [
        ("HEAD", "new"),
        ("main", "new"),
        ("a/main", "old"),
        ("a%2Fmain", "old"),
        ("v1.0", "old"),
        ("light", "new"),
        ("both", "new"),
        ("refs/heads/main", "new"),
        ("refs/heads/a/main", "old"),
        ("refs/tags/v1.0", "old"),
        ("refs/tags/both", "old"),
        ("heads/main", "new"),
        ("tags/both", "old"),
    ],
)
async def test_names(world: World, ref: str, which: str) -> None:
    """A name means exactly the ref of that name: branch, tag (peeled), or full name; a branch before a tag."""
    commit = await world.provider.resolve(world.demo(ref))
    assert commit.sha == getattr(world, which)


async def test_commit_ids(world: World) -> None:
    """Whole and short commit ids are found, whatever their case."""
    for ref in (world.old, world.old.upper(), world.old[:7], world.old[:12].upper()):
        assert (await world.provider.resolve(world.demo(ref))).sha == world.old


async def test_whole_ids_need_no_host(world: World) -> None:
    """A whole commit id is answered while the host is away."""
    world.stop()
    assert (await world.provider.resolve(world.demo(world.old))).sha == world.old


@pytest.mark.parametrize("ref", ["nosuch", "ain", "ma", "a", "0123456", "refs/heads/nosuch", "x/y"])
async def test_unknown_refs(world: World, ref: str) -> None:
    """A ref that is not there is not found, though others end or start like it."""
    with pytest.raises(RefNotFound, match="has no branch, tag or commit named"):
        await world.provider.resolve(world.demo(ref))


@pytest.mark.parametrize("ref", ["a b", "a%20b", "a..b", "m*n", "%FF", "x%00", "-x", "a~1", "main.lock", "@"])
async def test_impossible_refs(world: World, ref: str) -> None:
    """A ref that git could not have is a bad spec, said without asking the host."""
    world.stop()
    with pytest.raises(BadSpec):
        world.provider.check(world.demo(ref))
    with pytest.raises(BadSpec):
        await world.provider.resolve(world.demo(ref))


@pytest.mark.parametrize("spec", ["", "/", "x", "x/", "//", "//HEAD"])
def test_bad_specs(world: World, spec: str) -> None:
    """What does not name a repository and a ref is refused, saying what form is expected."""
    with pytest.raises(BadSpec, match="Spec is not of the form"):
        world.provider.check(spec)


def test_good_specs(world: World) -> None:
    """The form of a good spec passes."""
    world.provider.check(world.demo("feature/x"))


async def test_no_repository(world: World) -> None:
    """A repository that is not there is not found."""
    with pytest.raises(RepositoryNotFound, match="owner/nosuch"):
        await world.provider.resolve(world.spec("owner/nosuch", "main"))


async def test_host_away(world: World) -> None:
    """A host that does not answer is said to be unavailable, for look-ups and fetches."""
    world.stop()
    with pytest.raises(ProviderUnavailable):
        await world.provider.resolve(world.demo("main"))


async def test_fetch_from_host_away(world: World, tmp_path: Path) -> None:
    """A fetch from a host that does not answer leaves nothing behind."""
    commit = await world.provider.resolve(world.demo("main"))
    world.stop()
    with pytest.raises(ProviderUnavailable):
        await world.provider.fetch(commit, tmp_path / "out" / "here", print)
    assert not (tmp_path / "out" / "here").exists()


async def test_commit_values(world: World) -> None:
    """All of a commit is filled in, and its resolved spec resolves to itself."""
    commit = await world.provider.resolve(world.demo("main"))
    assert commit.provider == world.provider.id
    assert commit.repo_url.endswith("/owner/demo")
    assert commit.owner.endswith("/owner")
    assert commit.slug
    assert commit.ref_url.startswith(commit.repo_url)
    assert commit.resolved_spec.endswith(f"/{world.new}")
    assert (await world.provider.resolve(commit.resolved_spec)) == commit


@pytest.mark.parametrize("which", ["old", "new"])
async def test_fetch(world: World, tmp_path: Path, which: str) -> None:
    """A fetch makes exactly the files of the commit, with ``.git``, and says something."""
    lines: list[str] = []
    commit = await world.provider.resolve(world.demo(getattr(world, which)))
    (tmp_path / "out").mkdir()
    await world.provider.fetch(commit, tmp_path / "out", lines.append)
    assert files_of(tmp_path / "out") == (OLD if which == "old" else NEW)
    assert (tmp_path / "out" / ".git").is_dir()
    assert commit.sha in " ".join(lines)
    assert not any("\n" in line for line in lines)


async def test_fetch_into_folder_to_be_made(world: World, tmp_path: Path) -> None:
    """A fetch makes its destination where that is absent, and parents too."""
    commit = await world.provider.resolve(world.demo("main"))
    await world.provider.fetch(commit, tmp_path / "not" / "yet", print)
    assert files_of(tmp_path / "not" / "yet") == NEW


async def test_fetch_of_absent_commit(world: World, tmp_path: Path) -> None:
    """A commit that the repository does not have is not found, and nothing is left in the destination."""
    commit = await world.provider.resolve(world.demo(ABSENT))
    (tmp_path / "out").mkdir()
    with pytest.raises(RefNotFound):
        await world.provider.fetch(commit, tmp_path / "out", print)
    assert not (tmp_path / "out").exists()


async def test_fetch_of_absent_repository(world: World, tmp_path: Path) -> None:
    """A repository that went away is not found."""
    commit = await world.provider.resolve(world.spec("owner/nosuch", ABSENT))
    with pytest.raises(RepositoryNotFound):
        await world.provider.fetch(commit, tmp_path / "out", print)


async def test_many_at_once(world: World, tmp_path: Path) -> None:
    """Fetches of one repository at the same time all succeed."""
    commits: list[Commit] = [
        await world.provider.resolve(world.demo(sha)) for sha in (world.old, world.new, world.old, world.new)
    ]
    await asyncio.gather(
        *(world.provider.fetch(commit, tmp_path / f"out{n}", print) for n, commit in enumerate(commits))
    )
    for number, commit in enumerate(commits):
        assert files_of(tmp_path / f"out{number}") == (OLD if commit.sha == world.old else NEW)


async def test_close_twice(world: World) -> None:
    """Closing is idempotent."""
    await world.provider.close()
    await world.provider.close()


def test_display(world: World) -> None:
    """The display entry has BinderHub's shape, with the provider's own id."""
    display = world.provider.display
    assert display["id"] == world.provider.id
    assert {"displayName", "spec", "repo", "ref"} <= set(display)
    assert set(display["repo"]) == {"label", "placeholder", "urlEncode"}
    assert world.provider.event_name
