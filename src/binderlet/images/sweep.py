"""What of a registry's bucket is garbage, and in which order it goes (pure).

The registry knows no safe way to collect garbage while somebody pushes: a push first asks which layers are there, and
those must not go before its manifest comes. So a blob that no manifest has goes in two phases:

1. its *links* go, by which repositories know it, once both are older than ``grace``. From then on the registry tells a
   push that the layer is not there, and does not take a manifest that has it: the push sends it again.
2. a ``settle`` later, longer than any manifest takes to be stored, the blob goes, if no manifest has it by
   now and nobody has sent it again since, which would have made it young.

A manifest that slipped in between the two has its blob, but not the link: links that a manifest needs are written
again. So no order of events loses a layer, whoever pushes from wherever, and the registry is never stopped or made
read-only.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

ROOT = "docker/registry/v2/"
BLOB = re.compile(r"blobs/(?P<algorithm>[a-z0-9]+)/[0-9a-f]{2}/(?P<hex>[0-9a-f]{32,})/data")
LAYER = re.compile(r"repositories/(?P<name>.+)/_layers/(?P<algorithm>[a-z0-9]+)/(?P<hex>[0-9a-f]{32,})/link")
REVISION = re.compile(
    r"repositories/(?P<name>.+)/_manifests/revisions/(?P<algorithm>[a-z0-9]+)/(?P<hex>[0-9a-f]{32,})/link"
)
TAG = re.compile(r"repositories/(?P<name>.+)/_manifests/tags/(?P<tag>[^/]+)/current/link")


@dataclass(frozen=True, slots=True)
class Thing:
    """One object of the bucket."""

    key: str
    size: int
    modified_at: float
    """Seconds since the epoch."""


Place = tuple[str, str]
"""A repository and a digest."""


@dataclass(slots=True)
class Contents:
    """A bucket's objects, sorted by what they are to the registry."""

    blobs: dict[str, Thing] = field(default_factory=dict)
    """By digest."""
    layers: dict[Place, Thing] = field(default_factory=dict)
    revisions: dict[Place, Thing] = field(default_factory=dict)
    """Manifests of repositories."""
    tags: dict[tuple[str, str], Thing] = field(default_factory=dict)
    """By repository and tag."""

    @property
    def size(self) -> int:
        """Bytes of all blobs."""
        return sum(blob.size for blob in self.blobs.values())

    def add(self, thing: Thing, folder: str) -> None:
        """Take in one object; what is nothing of the registry's is left alone."""
        path = thing.key.removeprefix(folder).removeprefix("/").removeprefix(ROOT)
        if found := BLOB.fullmatch(path):
            self.blobs[_digest(found)] = thing
        elif found := LAYER.fullmatch(path):
            self.layers[found["name"], _digest(found)] = thing
        elif found := REVISION.fullmatch(path):
            self.revisions[found["name"], _digest(found)] = thing
        elif found := TAG.fullmatch(path):
            self.tags[found["name"], found["tag"]] = thing


def _digest(found: re.Match[str]) -> str:
    return f"{found['algorithm']}:{found['hex']}"


def layer_key(folder: str, place: Place) -> str:
    """Give the key of the link by which a repository knows a blob."""
    name, digest = place
    algorithm, _, hexadecimal = digest.partition(":")
    return f"{folder}/{ROOT}repositories/{name}/_layers/{algorithm}/{hexadecimal}/link".lstrip("/")


def references(manifest: Mapping[str, object]) -> list[str]:
    """Give the digests that a manifest, or an index of manifests, names."""
    found: list[str] = []
    for key in ("config", "layers", "manifests", "fsLayers", "blobs"):
        value = manifest.get(key)
        entries: Iterable[object] = value if isinstance(value, list) else [value]
        for entry in entries:
            if isinstance(entry, Mapping):
                digest = entry.get("digest") or entry.get("blobSum")
                found += [digest] if isinstance(digest, str) else []
    return found


@dataclass(frozen=True, slots=True)
class Round:
    """What one round does; in this order."""

    relink: tuple[Place, ...] = ()
    """Links to be written again."""
    unlink: tuple[str, ...] = ()
    """Keys of links that go."""
    delete: tuple[str, ...] = ()
    """Keys of blobs that go."""
    frees: int = 0
    """Bytes."""
    unlinked: Mapping[str, float] = field(default_factory=dict)
    """When each blob that is left was first seen without links; to be given to the next round."""


def roots(contents: Contents, tagged: Mapping[str, str], grace: float, now: float) -> list[Place]:
    """Give the manifests that count: those that a tag has, and young ones, whose tag may be about to come.

    ``tagged`` has the digest that each tag's key holds.
    """
    wanted = {(name, tagged.get(thing.key, "")) for (name, _), thing in contents.tags.items()}
    return [place for place, thing in contents.revisions.items() if place in wanted or now - thing.modified_at < grace]


def sweep(
    contents: Contents,
    needed: Mapping[Place, Sequence[str]],
    unlinked: Mapping[str, float],
    *,
    grace: float,
    settle: float,
    now: float,
) -> Round:
    """Give what to do now; ``needed`` has what each manifest that counts names, ``unlinked`` is the last round's."""
    used = {digest for _, digest in needed} | {digest for digests in needed.values() for digest in digests}
    linked: dict[str, list[Place]] = {}
    for place in contents.layers:
        linked.setdefault(place[1], []).append(place)
    everyone = ((name, digest) for (name, _), digests in needed.items() for digest in digests)
    known = contents.layers.keys() | contents.revisions.keys()
    relink = {place for place in everyone if place[1] in contents.blobs and place not in known}
    unlink = [
        thing.key
        for place, thing in contents.revisions.items()
        if place not in needed and now - thing.modified_at >= grace
    ]
    delete: list[Thing] = []
    waiting: dict[str, float] = {}
    for digest, blob in contents.blobs.items():
        if digest in used or now - blob.modified_at < grace:
            continue
        links = [contents.layers[place] for place in linked.get(digest, ())]
        if links:
            old = all(now - link.modified_at >= grace for link in links)
            unlink += [link.key for link in links] if old else []
            waiting |= {digest: now} if old else {}
        elif now - unlinked.get(digest, now) >= settle:
            delete.append(blob)
        else:
            waiting[digest] = unlinked.get(digest, now)
    freed = sum(blob.size for blob in delete)
    return Round(tuple(sorted(relink)), tuple(sorted(unlink)), tuple(sorted(b.key for b in delete)), freed, waiting)


def unknown(contents: Contents, known: Collection[str], counted: Iterable[Place]) -> list[str]:
    """Give the digests of manifests that count and were not read yet."""
    return sorted({digest for _, digest in counted if digest not in known and digest in contents.blobs})
