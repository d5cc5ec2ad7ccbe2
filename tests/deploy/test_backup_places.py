"""Places of backups: a folder, and a real bucket, behave alike."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from binderlet.clients.s3 import S3Bucket
from binderlet.deploy.backup import backup_name
from binderlet.deploy.backup_places import FOLDER, BucketPlace, FolderPlace, Place, keep_newest
from binderlet.errors import NotFound, StoreUnavailable
from support.s3_server import S3Server

pytestmark = pytest.mark.timeout(180)  # the first test waits for the storage server


@pytest.fixture(params=["folder", "bucket"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    """Each kind of place, empty."""
    if request.param == "folder":
        return FolderPlace(tmp_path / "backups")
    server: S3Server = request.getfixturevalue("s3")
    return BucketPlace(S3Bucket(server.settings(server.make_bucket()), ca_bundle=server.ca_bundle))


def write(folder: Path, name: str, content: bytes) -> Path:
    """Write a file."""
    (folder / name).write_bytes(content)
    return folder / name


async def test_there_and_back(place: Place, tmp_path: Path) -> None:
    """What is put is listed, the oldest first, and comes back; what is removed is gone, also the second time."""
    assert await place.all() == []
    names = [backup_name("me", at) for at in (1.7e9, 1.6e9)]
    for name in names:
        await place.put(await asyncio.to_thread(write, tmp_path, name, name.encode()))
    found = await place.all()
    assert [one.name for one in found] == sorted(names)
    assert {one.service for one in found} == {"me"}
    assert found[0].size == len(names[0])
    assert found[0].made_at > 1.7e9
    await place.get(names[0], tmp_path / "back")
    assert await asyncio.to_thread((tmp_path / "back").read_bytes) == names[0].encode()
    await place.delete(names[0])
    await place.delete(names[0])
    assert [one.name for one in await place.all()] == [names[1]]
    with pytest.raises(NotFound):
        await place.get(names[0], tmp_path / "back")


async def test_the_newest_stay(place: Place, tmp_path: Path) -> None:
    """Old backups of this service go; another's, and what is none, are left alone."""
    mine = [backup_name("me", 1.7e9 + day * 86400) for day in range(4)]
    others = [backup_name("other", 1.6e9), backup_name("me-too", 1.6e9)]
    for name in (*mine, *others):
        await place.put(await asyncio.to_thread(write, tmp_path, name, b"x"))
    assert await keep_newest(place, "me", 2) == mine[:2]
    assert sorted(one.name for one in await place.all()) == sorted([*mine[2:], *others])
    assert await keep_newest(place, "me", 2) == []


async def test_what_is_none(tmp_path: Path, s3: S3Server) -> None:
    """Files that do not have a backup's name are not seen, or are of no service."""
    await asyncio.to_thread(write, tmp_path, "notes.txt", b"")
    await asyncio.to_thread(write, tmp_path, "odd.tar.gz.age", b"")
    await asyncio.to_thread(write, tmp_path, ".half.tar.gz.age", b"")
    assert [(one.name, one.service) for one in await FolderPlace(tmp_path).all()] == [("odd.tar.gz.age", "")]
    bucket = S3Bucket(s3.settings(s3.make_bucket()), ca_bundle=s3.ca_bundle)
    await bucket.put(f"{FOLDER}notes.txt", b"")
    assert await BucketPlace(bucket).all() == []


async def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    """It is said which, and what the system says."""
    made = await asyncio.to_thread(write, tmp_path, backup_name("me", 1.7e9), b"x")
    with pytest.raises(StoreUnavailable, match="cannot be written"):
        await FolderPlace(made / "inside").put(made)
