"""What the container engine keeps for us, as items; and how each of them is removed.

Only what is ours is seen: images by their names, containers by their label. Nothing is ever removed by force: what
the engine says is in use stays. The build tool keeps its own hold on the layers of what it built, so that removing
an image frees its bytes only once the cache has let go of them, too.
"""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

from aiodocker.exceptions import DockerError

from binderlet.clients.docker import DockerClient, engine_errors, translate
from binderlet.errors import ImageMissing, NotFound
from binderlet.images.layers import SizeOf, asked_sizes, layer_sizes, parts_of
from binderlet.images.retention import GB, Item, Kind, Part

KIND_LABEL = "binderlet.image"
KINDS = {"content": Kind.IMAGE, "repo2docker": Kind.IMAGE, "environment": Kind.ENVIRONMENT}
REPOSITORY_LABEL = "repo2docker.repo"
ENVIRONMENT_LABEL = "binderlet.environment"
BASE_LABEL = "binderlet.base"
INSTANCE_LABEL = "binderlet.instance"
CONFLICT = 409
NONE = "<none>:<none>"
DAY = 86400.0
PACKAGES = "exec.cachemount"
TIERS = (30 * DAY, 7 * DAY, DAY, 3600.0)
"""Ages by which downloaded packages go, the oldest first."""
PER_GB = {"source.local": 0.0, "regular": 1.0, PACKAGES: 60.0}
"""Seconds that later builds take longer for each gigabyte of the build cache, by its type; copies of checkouts and
layers without an image are hardly ever of use again, downloaded packages are."""
CACHE_NAMES = {
    "source.local": "copies of checkouts in the build cache",
    "regular": "layers of removed images in the build cache",
    PACKAGES: "packages in the build cache",
}


@dataclass(frozen=True, slots=True)
class Names:
    """Which names of images are ours."""

    images: str
    """First part of the names of what sessions run."""
    environments: str = "binderlet/env:"
    bases: tuple[str, ...] = ("binderlet/base:", "binderlet/base-system:")

    def kind(self, name: str) -> Kind | None:
        """Give what an image of that name is; None for what is not ours."""
        name = name.removeprefix("localhost/").removeprefix("docker.io/")  # Podman's way to write short names
        if name.startswith(self.bases):
            return Kind.BASE
        if name.startswith(self.environments):
            return Kind.ENVIRONMENT
        return Kind.IMAGE if name.startswith(self.images) else None


@dataclass(frozen=True, slots=True)
class Stored:
    """An image of ours, as the engine has it."""

    id: str
    names: tuple[str, ...]
    """Empty for one that has been replaced."""
    kind: Kind
    size: int
    made_at: float
    labels: Mapping[str, str] = field(default_factory=dict)
    is_shared_name: bool = False
    """Whether it also has a name that is not ours."""

    @property
    def name(self) -> str:
        """What to call it."""
        return self.names[0] if self.names else self.id[:19]


@dataclass(frozen=True, slots=True)
class Stock:
    """What was there at one look."""

    images: tuple[Stored, ...]
    parts: Mapping[str, tuple[Part, ...]]
    """By the image's id."""
    in_use: frozenset[str]
    """Ids of images that containers are made from."""
    leftovers: tuple[Item, ...]
    """Containers and build cache."""


class EngineStock:
    """Looks at an engine, and removes what it is told to."""

    def __init__(
        self,
        docker: DockerClient,
        names: Names,
        instance: str,
        *,
        build_cache: bool = True,
        min_age: float = 3600.0,
        helper: str = "",
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._helper = helper
        self._docker = docker
        self._names = names
        self._instance = instance
        self._build_cache = build_cache
        self._min_age = min_age
        self._clock = clock
        self._layers: dict[str, Sequence[str]] = {}
        self._size_of: SizeOf | None = None
        self._cache: tuple[Item, ...] = ()
        self.root: Path | None = None
        """Where the engine keeps its files, where it is on this machine."""

    async def look(self, *, thorough: bool) -> Stock:
        """Read what is there; the build cache anew only when ``thorough``: the engine measures all it has for that.

        Raises:
            EngineUnavailable: it does not answer.
        """
        with engine_errors():
            if self._size_of is None:
                await self._find_root()
            listed = await self._docker.call("GET", "images/json")
            containers = await self._docker.call("GET", "containers/json", params={"all": "1"})
            images = [found for each in listed if (found := self._stored(each)) is not None]
            await self._read_layers(images)
            if thorough and self._build_cache:
                cache = (await self._docker.call("GET", "system/df")).get("BuildCache") or ()
                self._cache = tuple(cache_items(cache, self._clock(), self._min_age))
        parts = await asyncio.to_thread(self._parts, images)
        in_use = frozenset(str(each["ImageID"]) for each in containers)
        return Stock(tuple(images), parts, in_use, (*self._containers(containers), *self._cache))

    async def remove(self, item: Item) -> bool:
        """Remove one; False where the engine keeps it because it is in use. Idempotent.

        Raises:
            EngineUnavailable: the engine does not answer.
        """
        if item.kind is Kind.CACHE:
            await self.prune(*_cache_of(item.id))
            return True
        if item.kind is Kind.CONTAINER:
            return await self._delete(f"containers/{item.id.removeprefix('container:')}", v="1")
        image = item.id.removeprefix("image:")
        with engine_errors():
            try:
                found = await self._docker.call("GET", f"images/{quote(image)}/json")
            except DockerError as error:
                if isinstance(translate(error), ImageMissing):
                    return True
                raise
        ours = [name for name in found.get("RepoTags") or () if self._names.kind(name) is not None]
        return all([await self._delete(f"images/{quote(name)}") for name in ours or [image]])

    async def prune(self, kind: str, older_than: float) -> None:
        """Make the build cache smaller by what is of that type and was not used for these seconds.

        Raises:
            EngineUnavailable: the engine does not answer.
        """
        filters = json.dumps({"type": [kind], "until": [f"{int(older_than)}s"]})
        with engine_errors():
            await self._docker.call("POST", "build/prune", params={"filters": filters})

    async def let_go(self) -> None:
        """Have the build cache let go of the layers of images that were removed.

        Raises:
            EngineUnavailable: the engine does not answer.
        """
        if self._build_cache:
            await self.prune("regular", self._min_age)

    async def _find_root(self) -> None:
        info = await self._docker.call("GET", "info")
        root = Path(str(info["DockerRootDir"]))
        if await asyncio.to_thread(os.access, root, os.F_OK):
            self.root = root
        driver = str(info["Driver"])
        self._size_of = asked_sizes(self._helper, driver) if self._helper else layer_sizes(root, driver)

    async def _read_layers(self, images: Sequence[Stored]) -> None:
        """Ask for the layers of images that were not seen before; an image that goes meanwhile has none."""
        known = {image.id: self._layers[image.id] for image in images if image.id in self._layers}
        for image in images:
            if image.id not in known:
                try:
                    found = await self._docker.call("GET", f"images/{quote(image.id)}/json")
                except DockerError as error:
                    if not isinstance(translate(error), ImageMissing):
                        raise
                    found = {}
                known[image.id] = tuple((found.get("RootFS") or {}).get("Layers") or ())
        self._layers = known

    def _parts(self, images: Sequence[Stored]) -> dict[str, tuple[Part, ...]]:
        known = {image.id: (self._layers[image.id], image.size) for image in images}
        return parts_of(known, self._size_of or (lambda _: None))

    def _stored(self, listed: Mapping[str, Any]) -> Stored | None:
        labels: Mapping[str, str] = listed.get("Labels") or {}
        names = [str(name) for name in listed.get("RepoTags") or () if name != NONE]
        ours = tuple(name for name in names if self._names.kind(name) is not None)
        kind = self._names.kind(ours[0]) if ours else None
        if not names and BASE_LABEL in labels:
            kind = KINDS.get(labels.get(KIND_LABEL, ""), Kind.BASE)
        if kind is None:
            return None
        made = float(listed["Created"])
        return Stored(str(listed["Id"]), ours, kind, int(listed["Size"]), made, labels, len(ours) < len(names))

    def _containers(self, listed: Sequence[Mapping[str, Any]]) -> Iterator[Item]:
        """Give the containers of this service that ended; the sessions' own keeper removes most of them before."""
        for each in listed:
            is_ours = (each.get("Labels") or {}).get(INSTANCE_LABEL) == self._instance
            if is_ours and each["State"] in {"exited", "dead"}:
                name = str(next(iter(each.get("Names") or ()), each["Id"][:12])).lstrip("/")
                part = Part(f"container:{each['Id']}", int(each.get("SizeRw") or 0))
                made = float(each["Created"])
                yield Item(part.id, Kind.CONTAINER, name, (part,), "engine", last_used=made, is_junk=True)

    async def _delete(self, path: str, **params: str) -> bool:
        try:
            await self._docker.call("DELETE", path, params=params)
        except DockerError as error:
            if error.status == CONFLICT:
                return False
            ours = translate(error)
            if not isinstance(ours, ImageMissing | NotFound):
                raise ours from error
        return True


def cache_items(records: Sequence[Mapping[str, Any]], now: float, min_age: float) -> list[Item]:
    """Give the build cache by type and age: each item holds what is older than it and younger than the one before."""
    items: list[Item] = []
    for kind in PER_GB:
        mine = [(_seconds(each), int(each["Size"])) for each in records if each["Type"] == kind and _may_go(each)]
        ages = TIERS if kind == PACKAGES else (DAY, 3600.0)
        younger_than = float("inf")
        for age in (max(age, min_age) for age in ages):
            chosen = [(at, size) for at, size in mine if age <= now - at < younger_than]
            younger_than = min(age, younger_than)
            if size := sum(size for _, size in chosen):
                items.append(_cache_item(kind, age, size, max(at for at, _ in chosen), now))
    return items


def _cache_item(kind: str, age: float, size: int, last_used: float, now: float) -> Item:
    name = f"cache:{kind}:{int(age)}"
    return Item(
        name,
        Kind.CACHE,
        CACHE_NAMES[kind],
        (Part(name, size),),
        "engine",
        cost=PER_GB[kind] * size / GB,
        popularity=0.5 ** ((now - last_used) / (7 * DAY)),
        last_used=last_used,
    )


def _cache_of(item_id: str) -> tuple[str, float]:
    _, kind, age = item_id.split(":")
    return kind, float(age)


def _may_go(record: Mapping[str, Any]) -> bool:
    return not record["InUse"] and not record["Shared"]


def _seconds(record: Mapping[str, Any]) -> float:
    """Read when a record was used last; Go writes nine digits where Python reads six."""
    text = str(record.get("LastUsedAt") or record["CreatedAt"])
    return datetime.fromisoformat(text[:19] + "+00:00").timestamp()
