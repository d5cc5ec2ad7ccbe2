"""The fake provider; ``test_contract.py`` has most of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from binderlet.errors import BadSpec, ProviderUnavailable, RefNotFound, RepositoryNotFound
from binderlet.providers.fake import FakeProvider, FakeRepository

OLD, NEW = "a1" * 20, "a1" * 19 + "b2"


def make() -> FakeProvider:
    """One repository with two commits that start alike."""
    return FakeProvider(
        {"o/r": FakeRepository({"HEAD": NEW, "refs/heads/a": OLD}, {OLD: {"f": b"old"}, NEW: {"f": b"new"}})}
    )


async def test_resolve_and_fetch(tmp_path: Path) -> None:
    """Refs, short and whole ids are found, files are written."""
    provider = make()
    for ref, sha in (("HEAD", NEW), ("a", OLD), (OLD, OLD), (NEW[:39], NEW)):
        assert (await provider.resolve(f"o/r/{ref}")).sha == sha
    await provider.fetch(await provider.resolve("o/r/HEAD"), tmp_path / "out", print)
    assert (tmp_path / "out" / "f").read_bytes() == b"new"
    provider.check("o/r/x")
    await provider.close()


async def test_ambiguous() -> None:
    """A short id of both commits says so, one of neither is not found."""
    with pytest.raises(RefNotFound, match="More than one"):
        await make().resolve("o/r/a1a1")
    with pytest.raises(RefNotFound, match="no branch"):
        await make().resolve("o/r/b2b2")


@pytest.mark.parametrize("spec", ["o/r", "o//x", "/r/x", "", "o/r/a..b"])
def test_bad_specs(spec: str) -> None:
    """Specs of another form are refused."""
    with pytest.raises(BadSpec):
        make().check(spec)


async def test_down(tmp_path: Path) -> None:
    """A fake that is down is unavailable, and leaves nothing."""
    provider = make()
    commit = await provider.resolve(f"o/r/{OLD}")
    provider.down = True
    with pytest.raises(ProviderUnavailable):
        await provider.fetch(commit, tmp_path / "out", print)
    assert not (tmp_path / "out").exists()


async def test_absent(tmp_path: Path) -> None:
    """What is not there is not found."""
    provider = make()
    with pytest.raises(RefNotFound):
        await provider.fetch(await provider.resolve(f"o/r/{'0' * 40}"), tmp_path / "out", print)
    with pytest.raises(RepositoryNotFound, match="no fake repository"):
        await provider.resolve("o/x/HEAD")
