"""What a member tells its federation."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import aiohttp
import pytest

from binderlet.app import membership as module
from binderlet.app.membership import Membership, name_of
from binderlet.config.federation import FederationSettings
from binderlet.errors import StoreUnavailable
from binderlet.events.kinds import LaunchEnded, LaunchStarted
from binderlet.federation.pick import digest, key_of
from binderlet.model import RepoSpec
from binderlet.tasks import Tasks
from support.eventually import eventually
from support.members import FakeMember

SPEC = RepoSpec("gh", "Owner/Repo/HEAD")


@pytest.fixture
def federation() -> Iterator[FakeMember]:
    """Somebody with versions."""
    with FakeMember("f") as found:
        yield found


@pytest.fixture
async def tasks() -> AsyncIterator[Tasks]:
    """The test's own tasks."""
    async with Tasks("test") as found:
        yield found


def ended(spec: RepoSpec, status: str = "success") -> LaunchEnded:
    """A launch that ended."""
    return LaunchEnded("l1", spec, 2.0, 1.0, status)


async def test_wishes_are_kept(tmp_path: Path) -> None:
    """What the operator wants is there again after a restart."""
    member = Membership(FederationSettings(), tmp_path)
    await asyncio.to_thread(member.load)
    assert member.wishes() == {"draining": False, "share": 1.0}
    await member.wish(draining=True)
    await member.wish(share=0.25)
    again = Membership(FederationSettings(), tmp_path)
    await asyncio.to_thread(again.load)
    assert again.wishes() == {"draining": True, "share": 0.25}
    assert again.versions() is None
    await again.wish(share=0.5)
    await again.save()


@pytest.mark.parametrize("text", ["", "[]", '{"draining": 1}', '{"draining": 1, "share": "x"}'])
def test_a_broken_file(tmp_path: Path, text: str) -> None:
    """A file that cannot be read is as none."""
    (tmp_path / "federation.json").write_text(text)
    member = Membership(FederationSettings(), tmp_path)
    member.load()
    assert member.wishes()["draining"] is False


async def test_a_disk_that_takes_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The operator is told that a wish is not kept; what is kept by the way is said in the log."""
    member = Membership(FederationSettings(), tmp_path / "gone")
    with pytest.raises(StoreUnavailable, match="cannot be written"):
        await member.wish(draining=True)
    assert member.wishes()["draining"] is True
    await member.save()
    assert "cannot be written" in "".join(capsys.readouterr())


async def test_repositories(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Repositories that were launched are named as redirectors name them; the oldest go first."""
    member = Membership(FederationSettings(), tmp_path)
    member.listen(LaunchStarted("l1", SPEC, 1.0))
    member.listen(ended(SPEC, "failure"))
    assert member.repositories() == []
    member.listen(ended(SPEC))
    assert member.repositories() == [digest(key_of(b"/build/gh/owner/repo/main")).hex()] == [name_of(SPEC)]
    monkeypatch.setattr(module, "REMEMBERED", 2)
    for number in range(3):
        member.listen(ended(RepoSpec("gh", f"o/r{number}/HEAD")))
    assert member.repositories() == [name_of(RepoSpec("gh", f"o/r{number}/x")) for number in (1, 2)]


@pytest.mark.timeout(60)
async def test_the_federations_versions(tmp_path: Path, federation: FakeMember, tasks: Tasks) -> None:
    """Versions are the federation's, and stay as they were while it does not answer, also over a restart."""
    settings = FederationSettings(url=federation.base, mirror_versions=True, mirror_every=0.05)
    member = Membership(settings, tmp_path)
    running = tasks.start(member.run(), name="member")
    await eventually(lambda: member.versions() == federation.state.versions, seconds=15)
    federation.state.versions = {"builder": "new"}
    await eventually(lambda: member.versions() == {"builder": "new"}, seconds=15)
    running.cancel()
    await asyncio.wait({running})
    async with aiohttp.ClientSession() as client:
        federation.state.versions = None
        await member.look(client)
        federation.state.gone = True
        await member.look(client)
    assert member.versions() == {"builder": "new"}
    await member.save()
    again = Membership(settings, tmp_path)
    await asyncio.to_thread(again.load)
    assert again.versions() == {"builder": "new"}


@pytest.mark.timeout(60)
async def test_kept_now_and_then(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tasks: Tasks) -> None:
    """What was launched is written again and again, when there is something new."""
    monkeypatch.setattr(module, "SAVE_EVERY", 0.01)
    member = Membership(FederationSettings(), tmp_path)
    running = tasks.start(member.run(), name="member")
    path = tmp_path / "federation.json"
    await eventually(lambda: asyncio.to_thread(path.exists), seconds=15)
    member.listen(ended(SPEC))

    def written() -> bool:
        """Whether the file names it."""
        return name_of(SPEC) in path.read_text()

    await eventually(lambda: asyncio.to_thread(written), seconds=15)
    running.cancel()
    await asyncio.wait({running})
