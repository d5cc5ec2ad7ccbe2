"""Looks after the bucket behind the registry: garbage goes without downtime, unfinished uploads go by a rule."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import structlog

from binderlet.clients.s3 import StoredObject
from binderlet.config.bucket import BucketSettings
from binderlet.errors import BinderletError, NotFound
from binderlet.images.sweep import Contents, Place, Round, Thing, layer_key, references, roots, sweep, unknown

log = structlog.get_logger(__name__)

RULE = "binderlet: unfinished uploads"
UNFINISHED_DAYS = 2
FIRST = 300.0
"""Seconds after the start until the first round."""
RETRY = 3600.0


class Objects(Protocol):
    """What is needed of ``clients.s3.S3Bucket``."""

    def objects(self, prefix: str = "") -> AsyncIterator[StoredObject]:
        """Give the objects whose keys begin so."""

    async def get(self, key: str) -> bytes:
        """Give an object's bytes."""

    async def put(self, key: str, body: bytes) -> None:
        """Store an object."""

    async def head(self, key: str) -> StoredObject:
        """Give what is known of an object."""

    async def delete(self, *keys: str) -> None:
        """Remove objects."""

    async def lifecycle(self) -> Sequence[Mapping[str, Any]]:
        """Give the lifecycle rules."""

    async def set_lifecycle(self, rules: Sequence[Mapping[str, Any]]) -> None:
        """Replace them."""


Retire = Callable[[Contents, Mapping[Place, Sequence[str]], Mapping[str, str]], Awaitable[None]]
"""Removes images from a bucket that holds too much, as it was found: its objects, manifests and tags."""


@dataclass(slots=True)
class Sums:
    """What was in the bucket at the last round."""

    size: int = 0
    """Bytes of the registry's blobs."""
    blobs: int = 0
    freed: int = 0
    """Bytes that were freed since the start."""
    at: float = 0.0
    problem: str = ""


class BucketKeeper:
    """``run`` is its loop; ``folder`` is the registry's, ``file`` remembers what was found over restarts."""

    def __init__(
        self,
        bucket: Objects,
        folder: str,
        settings: BucketSettings,
        file: Path,
        *,
        retire: Retire | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.sums = Sums()
        self._retire = retire
        self._bucket = bucket
        self._folder = folder.strip("/")
        self._settings = settings
        self._file = file
        self._clock = clock
        self._manifests: dict[str, list[str]] = {}

    async def run(self) -> None:
        """Look again and again, until cancelled; what fails is logged and tried again."""
        await asyncio.sleep(FIRST)
        await self.ensure_rule()
        while True:
            try:
                await self.look()
                self.sums.problem = ""
            except BinderletError as error:
                self.sums.problem = error.message
                log.warning("the bucket could not be looked at", error=error.message, hint=error.hint)
            await asyncio.sleep(min(RETRY, self._settings.every) if self.sums.problem else self._settings.every)

    async def ensure_rule(self) -> bool:
        """Have the storage throw away unfinished uploads, beside what rules there are; False where it will not."""
        rule = {
            "ID": RULE,
            "Status": "Enabled",
            "Filter": {"Prefix": ""},
            "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": UNFINISHED_DAYS},
        }
        try:
            rules = await self._bucket.lifecycle()
            if not any("AbortIncompleteMultipartUpload" in each for each in rules):
                await self._bucket.set_lifecycle([*rules, rule])
        except BinderletError as error:
            log.info("the storage takes no rule for unfinished uploads", error=error.message)
            return False
        return True

    async def look(self) -> Round:
        """Do one round.

        Raises:
            BinderletError: the storage does not answer or refuses; what was done stays done, and all of it was safe.
        """
        contents = await self._contents()
        now, grace = self._clock(), self._settings.grace
        tagged = await self._tagged(contents)
        counted = roots(contents, tagged, grace, now)
        needed = await self._needed(contents, counted)
        if self._retire is not None and contents.size > self._settings.budget > 0:
            # Their layers are garbage from the next round on.
            await self._retire(contents, needed, tagged)
        before = await asyncio.to_thread(self._load)
        found = sweep(contents, needed, before, grace=grace, settle=self._settings.settle, now=now)
        for place in found.relink:
            await self._bucket.put(layer_key(self._folder, place), place[1].encode())
        await self._bucket.delete(*found.unlink)
        # Before any blob goes it is on record, so that a crash never shortens the time between the phases.
        await asyncio.to_thread(self._save, found.unlinked)
        freed = 0
        for key in found.delete:
            freed += await self._delete_if_old(key, grace)
        self.sums.size, self.sums.blobs, self.sums.at = contents.size - freed, len(contents.blobs), now
        self.sums.freed += freed
        if freed or found.unlink or found.relink:
            log.info("bucket swept", freed=freed, unlinked=len(found.unlink), relinked=len(found.relink))
        return found

    async def _delete_if_old(self, key: str, grace: float) -> int:
        """Remove a blob, unless somebody has sent it again since the bucket was listed; gives its bytes."""
        try:
            thing = await self._bucket.head(key)
        except NotFound:
            return 0
        if self._clock() - thing.modified_at < grace:
            return 0
        await self._bucket.delete(key)
        return thing.size

    async def _contents(self) -> Contents:
        contents = Contents()
        async for each in self._bucket.objects(f"{self._folder}/" if self._folder else ""):
            contents.add(Thing(each.key, each.size, each.modified_at), self._folder)
        return contents

    async def _tagged(self, contents: Contents) -> dict[str, str]:
        """Give the digest that each tag's key holds; a tag that goes meanwhile has none."""
        found: dict[str, str] = {}
        for thing in contents.tags.values():
            try:
                found[thing.key] = (await self._bucket.get(thing.key)).decode("ascii", "replace").strip()
            except NotFound:
                continue
        return found

    async def _needed(self, contents: Contents, counted: Sequence[Place]) -> dict[Place, Sequence[str]]:
        """Give what each manifest that counts names; an index's manifests count with it."""
        needed: dict[Place, Sequence[str]] = {}
        todo = list(counted)
        while todo:
            for digest in unknown(contents, self._manifests, todo):
                self._manifests[digest] = _read(await self._bucket.get(contents.blobs[digest].key))
            more: list[Place] = []
            for place in todo:
                needed[place] = self._manifests.get(place[1], [])
                more += [(place[0], each) for each in needed[place] if (place[0], each) in contents.revisions]
            todo = [place for place in more if place not in needed]
        self._manifests = {digest: self._manifests[digest] for _, digest in needed if digest in self._manifests}
        return needed

    def _load(self) -> dict[str, float]:
        try:
            body = json.loads(self._file.read_text(encoding="utf-8"))
            return {str(digest): float(at) for digest, at in body.items()}
        except (OSError, ValueError, AttributeError, TypeError):
            return {}  # then the first phase is waited for again

    def _save(self, unlinked: Mapping[str, float]) -> None:
        self._file.parent.mkdir(parents=True, exist_ok=True)
        temporary = self._file.with_suffix(".new")
        temporary.write_text(json.dumps(dict(unlinked)), encoding="utf-8")
        temporary.replace(self._file)


def _read(body: bytes) -> list[str]:
    """Give what a manifest names; one that cannot be read stops the round: nobody knows what it needs."""
    try:
        return references(json.loads(body))
    except (ValueError, AttributeError) as error:
        raise BinderletError(f"A manifest in the bucket cannot be read: {error}.") from error
