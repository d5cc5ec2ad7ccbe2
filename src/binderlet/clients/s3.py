"""S3-compatible object storage: one bucket, by botocore in threads.

botocore is imported by the first call: it costs about 0.4 s and 20 MB, which only who has a bucket should pay.

Foreign errors become ours in ``translate``:

* no such key or bucket -> ``NotFound``;
* wrong, expired or forbidden credentials, a clock that is off -> ``StorageRefused``, in the storage's words;
* a quota that is used up -> ``StorageFull``;
* anything else, no answer included -> ``StorageUnavailable``.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from binderlet.config.registry import S3Settings
from binderlet.errors import BinderletError, NotFound, StorageFull, StorageRefused, StorageUnavailable

CONNECT_TIMEOUT = 5.0
READ_TIMEOUT = 60.0
ATTEMPTS = 3
"""Tries of one call, with pauses between them; for refusals there is one."""
MISSING = {"404", "NoSuchKey", "NoSuchBucket", "NotFound", "NoSuchLifecycleConfiguration", "NoSuchUpload"}
FULL = {"QuotaExceeded", "QuotaExceededException", "EntityTooLarge", "XMinioStorageFull", "InsufficientStorage", "507"}
REFUSED = {
    "401",
    "403",
    "AccessDenied",
    "ExpiredToken",
    "InvalidAccessKeyId",
    "InvalidToken",
    "RequestTimeTooSkewed",
    "SignatureDoesNotMatch",
}


@dataclass(frozen=True, slots=True)
class StoredObject:
    """One object in the bucket."""

    key: str
    size: int
    """Bytes."""
    modified_at: float
    """Seconds since the epoch."""


@dataclass(frozen=True, slots=True)
class UnfinishedUpload:
    """An upload in parts that was never completed: it is stored and paid for, but not listed as an object."""

    key: str
    id: str
    started_at: float


class S3Bucket:
    """One bucket; all methods may be called concurrently, and each raises what ``translate`` gives.

    Keys are as in the bucket: ``registry.s3.folder`` is not put before them.
    """

    def __init__(self, settings: S3Settings, *, ca_bundle: Path | None = None) -> None:
        self.name = settings.bucket
        self.requests = 0
        """Calls made since the start, for costs; a list of many pages counts each."""
        self._settings = settings
        self._ca_bundle = ca_bundle
        self._opening = threading.Lock()
        self._client: Any = None

    async def check(self) -> None:
        """Ask whether the bucket is there and may be used."""
        await self._call("head_bucket")

    async def put(self, key: str, body: bytes, *, content_type: str = "application/octet-stream") -> None:
        """Store an object; it is there completely or not at all."""
        await self._call("put_object", Key=key, Body=body, ContentType=content_type)

    async def put_file(self, key: str, path: Path) -> None:
        """Store a file of at most 5 GB without holding it in memory."""

        def put() -> None:
            with path.open("rb") as body:
                self._do("put_object", Key=key, Body=body, ContentLength=path.stat().st_size)

        await asyncio.to_thread(put)

    async def get(self, key: str) -> bytes:
        """Give an object's bytes."""

        def get() -> bytes:
            return bytes(self._do("get_object", Key=key)["Body"].read())

        return await asyncio.to_thread(self._translated, get)

    async def get_file(self, key: str, path: Path) -> None:
        """Write an object into a file, which is replaced only when all of it has come."""

        def get() -> None:
            part = path.with_name(f"{path.name}.part")
            with part.open("wb") as file:
                for chunk in self._do("get_object", Key=key)["Body"].iter_chunks(2**20):
                    file.write(chunk)
            part.replace(path)

        await asyncio.to_thread(self._translated, get)

    async def head(self, key: str) -> StoredObject:
        """Give what is known of an object."""
        found = await self._call("head_object", Key=key)
        return StoredObject(key, int(found["ContentLength"]), found["LastModified"].timestamp())

    async def delete(self, *keys: str) -> None:
        """Remove objects; one that is not there counts as removed."""
        for key in keys:  # not by delete_objects: not every store has it
            await self._call("delete_object", Key=key)

    async def objects(self, prefix: str = "") -> AsyncIterator[StoredObject]:
        """Give the objects whose keys begin so, in the order of their keys."""
        more: dict[str, Any] = {}
        while True:
            page = await self._call("list_objects_v2", Prefix=prefix, **more)
            for each in page.get("Contents", ()):
                yield StoredObject(each["Key"], int(each["Size"]), each["LastModified"].timestamp())
            if not page.get("IsTruncated"):
                return
            more = {"ContinuationToken": page["NextContinuationToken"]}

    async def unfinished_uploads(self, prefix: str = "") -> list[UnfinishedUpload]:
        """Give the uploads in parts that were begun and not completed; the first thousand of them."""
        page = await self._call("list_multipart_uploads", Prefix=prefix)
        return [
            UnfinishedUpload(each["Key"], each["UploadId"], each["Initiated"].timestamp())
            for each in page.get("Uploads", ())
        ]

    async def abort_upload(self, upload: UnfinishedUpload) -> None:
        """Throw away what of an upload is stored; one that is gone counts as aborted."""
        try:
            await self._call("abort_multipart_upload", Key=upload.key, UploadId=upload.id)
        except NotFound:
            return

    async def lifecycle(self) -> Sequence[Mapping[str, Any]]:
        """Give the bucket's lifecycle rules as S3 writes them; none where there are none."""
        try:
            found = await self._call("get_bucket_lifecycle_configuration")
        except NotFound:
            return []
        rules: list[Mapping[str, Any]] = found.get("Rules", [])
        return rules

    async def set_lifecycle(self, rules: Sequence[Mapping[str, Any]]) -> None:
        """Replace the bucket's lifecycle rules."""
        await self._call("put_bucket_lifecycle_configuration", LifecycleConfiguration={"Rules": list(rules)})

    async def _call(self, name: str, **arguments: Any) -> Any:  # noqa: ANN401 - botocore has no types
        return await asyncio.to_thread(self._do, name, **arguments)

    def _do(self, name: str, **arguments: Any) -> Any:  # noqa: ANN401 - botocore has no types
        self.requests += 1
        return self._translated(lambda: getattr(self._opened(), name)(Bucket=self.name, **arguments))

    def _translated(self, work: Callable[[], Any]) -> Any:  # noqa: ANN401 - botocore has no types
        from botocore.exceptions import BotoCoreError, ClientError, HTTPClientError  # noqa: PLC0415 - see above

        try:
            return work()
        except (BotoCoreError, ClientError, HTTPClientError) as error:
            raise translate(error) from error

    def _opened(self) -> Any:  # noqa: ANN401 - botocore has no types
        with self._opening:
            if self._client is None:
                self._client = self._open()
            return self._client

    def _open(self) -> Any:  # noqa: ANN401 - botocore has no types
        import botocore.session  # noqa: PLC0415 - see above
        from botocore.config import Config  # noqa: PLC0415

        settings = self._settings
        return botocore.session.Session().create_client(
            "s3",
            endpoint_url=settings.endpoint,
            aws_access_key_id=settings.access_key,
            aws_secret_access_key=settings.secret_key.get_secret_value(),
            region_name=settings.region,
            verify=str(self._ca_bundle) if self._ca_bundle else None,
            config=Config(
                connect_timeout=CONNECT_TIMEOUT,
                read_timeout=READ_TIMEOUT,
                retries={"total_max_attempts": ATTEMPTS, "mode": "standard"},
                # Names of buckets in host names need a DNS entry and a certificate that few stores have.
                s3={"addressing_style": "path"},
                # Many stores do not know the checksums that AWS's own clients send by default.
                request_checksum_calculation="when_required",
                response_checksum_validation="when_required",
            ),
        )


def translate(error: Exception) -> BinderletError:
    """Give our error for one that botocore raised."""
    response: Mapping[str, Any] = getattr(error, "response", None) or {}
    code = str(response.get("Error", {}).get("Code", ""))
    said = str(response.get("Error", {}).get("Message", "") or error).rstrip(".")
    if code in MISSING:
        return NotFound(f"The object storage has no such thing: {said}.")
    if code in REFUSED:
        return StorageRefused(f"The object storage refuses: {said} ({code}).")
    if code in FULL:
        return StorageFull(f"The object storage is full: {said} ({code}).")
    return StorageUnavailable(f"The object storage does not answer: {said}.")
