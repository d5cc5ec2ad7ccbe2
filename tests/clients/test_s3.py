"""One bucket of S3-compatible storage, on a real server with keys and TLS."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from pydantic import SecretStr

from binderlet.clients.s3 import S3Bucket, translate
from binderlet.config.registry import S3Settings
from binderlet.errors import BinderletError, NotFound, StorageFull, StorageRefused, StorageUnavailable
from support.ports import free_ports
from support.s3_server import S3Server

RULES = [
    {
        "ID": "unfinished uploads",
        "Status": "Enabled",
        "Filter": {"Prefix": ""},
        "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 2},
    }
]

pytestmark = pytest.mark.timeout(180)  # the first test waits for the server


@pytest.fixture
def bucket(s3: S3Server) -> S3Bucket:
    """A fresh bucket."""
    return S3Bucket(s3.settings(s3.make_bucket()), ca_bundle=s3.ca_bundle)


async def test_objects(bucket: S3Bucket) -> None:
    """What is put is got, listed by prefix and removed; removing again does nothing, and calls are counted."""
    await bucket.check()
    await bucket.put("a/one", b"1")
    await bucket.put("b/two", b"22")
    assert await bucket.get("b/two") == b"22"
    assert (await bucket.head("b/two")).size == 2
    assert [each.key async for each in bucket.objects("a/")] == ["a/one"]
    await bucket.delete("a/one", "a/never")
    await bucket.delete("a/one")
    assert [(each.key, each.size) async for each in bucket.objects()] == [("b/two", 2)]
    assert bucket.requests > 7


async def test_missing(bucket: S3Bucket, tmp_path: Path) -> None:
    """What is not there is said to be missing, and leaves no file."""
    for ask in (bucket.get("no"), bucket.head("no"), bucket.get_file("no", tmp_path / "no")):
        with pytest.raises(NotFound):
            await ask
    assert not (tmp_path / "no").exists()


async def test_files(bucket: S3Bucket, tmp_path: Path) -> None:
    """A file goes there and comes back byte by byte."""
    there, back = tmp_path / "there", tmp_path / "back"
    await asyncio.to_thread(there.write_bytes, bytes(range(256)) * 9000)
    await bucket.put_file("file", there)
    await bucket.get_file("file", back)
    assert await asyncio.to_thread(back.read_bytes) == await asyncio.to_thread(there.read_bytes)


async def test_pages(bucket: S3Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    """A list of several pages is given whole."""
    for number in range(5):
        await bucket.put(f"k{number}", b"")
    plain = bucket._do
    monkeypatch.setattr(
        bucket, "_do", lambda name, **rest: plain(name, **rest, **({"MaxKeys": 2} if "list_ob" in name else {}))
    )
    assert [each.key async for each in bucket.objects()] == ["k0", "k1", "k2", "k3", "k4"]


async def test_unfinished_uploads(bucket: S3Bucket, s3: S3Server) -> None:
    """Uploads that were never completed are found and aborted; aborting again does nothing."""
    assert await bucket.unfinished_uploads() == []
    client = s3.client()
    begun = await asyncio.to_thread(client.create_multipart_upload, Bucket=bucket.name, Key="big")
    found = await bucket.unfinished_uploads()
    assert [(each.key, each.id) for each in found] == [("big", begun["UploadId"])]
    assert found[0].started_at > 1e9
    await bucket.abort_upload(found[0])
    await bucket.abort_upload(found[0])
    assert await bucket.unfinished_uploads() == []


async def test_lifecycle(bucket: S3Bucket) -> None:
    """A bucket has no rules until some are set."""
    assert await bucket.lifecycle() == []
    await bucket.set_lifecycle(RULES)
    assert [rule["Status"] for rule in await bucket.lifecycle()] == ["Enabled"]


async def test_wrong_keys(s3: S3Server) -> None:
    """Wrong keys are refused, and the message is the storage's."""
    settings = s3.settings(s3.make_bucket(), secret_key=SecretStr("wrong"))
    with pytest.raises(StorageRefused, match="SignatureDoesNotMatch"):
        await S3Bucket(settings, ca_bundle=s3.ca_bundle).put("key", b"")


async def test_no_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    """A storage that does not answer is unavailable, whatever else."""
    monkeypatch.setattr("binderlet.clients.s3.ATTEMPTS", 1)
    nobody = f"http://127.0.0.1:{free_ports(1)[0]}/"
    settings = S3Settings(endpoint=nobody, bucket="b", access_key="a", secret_key=SecretStr("s"))
    with pytest.raises(StorageUnavailable):
        await S3Bucket(settings).check()


class ForeignError(Exception):
    """As botocore's: what the storage said is in ``response``."""

    def __init__(self, code: str) -> None:
        self.response = {"Error": {"Code": code, "Message": "Words."}}


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("NoSuchKey", NotFound),
        ("RequestTimeTooSkewed", StorageRefused),
        ("ExpiredToken", StorageRefused),
        ("QuotaExceeded", StorageFull),
        ("SlowDown", StorageUnavailable),
    ],
)
def test_translate(code: str, kind: type[BinderletError]) -> None:
    """Each answer of a storage is the error that says what to do, with its own words."""
    error = translate(ForeignError(code))
    assert type(error) is kind
    assert "Words" in error.message
