"""What of a registry's bucket is garbage: tables, and pushes that come at the worst moment."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from hypothesis import given
from hypothesis import strategies as st

from binderlet.images.sweep import Contents, Place, Round, Thing, layer_key, references, roots, sweep, unknown

NOW = 1_000_000.0
DAY, HOUR = 86400.0, 3600.0
A, B, C, M, N = (f"sha256:{letter * 64}" for letter in "abcdf")
REPOSITORIES = "images/docker/registry/v2/repositories"


def blob_key(digest: str) -> str:
    """Give the key of a blob."""
    hexadecimal = digest.removeprefix("sha256:")
    return f"images/docker/registry/v2/blobs/sha256/{hexadecimal[:2]}/{hexadecimal}/data"


def contents(keys: Mapping[str, float]) -> Contents:
    """Take in objects of ten bytes, each of an age."""
    found = Contents()
    for key, age in keys.items():
        found.add(Thing(key, 10, NOW - age), "images")
    return found


def bucket(*blobs: str, links: Sequence[Place] = (), revisions: Sequence[Place] = (), age: float = 2 * DAY) -> Contents:
    """Make a bucket with blobs, links to layers, and manifests."""
    keys = [blob_key(blob) for blob in blobs] + [layer_key("images", place) for place in links]
    hexes = [(name, digest.removeprefix("sha256:")) for name, digest in revisions]
    keys += [f"{REPOSITORIES}/{name}/_manifests/revisions/sha256/{hexadecimal}/link" for name, hexadecimal in hexes]
    return contents(dict.fromkeys(keys, age))


def run(found: Contents, needed: Mapping[Place, Sequence[str]], unlinked: Mapping[str, float] | None = None) -> Round:
    """Do a round with a day of grace and an hour to settle."""
    return sweep(found, needed, unlinked or {}, grace=DAY, settle=HOUR, now=NOW)


def test_keys() -> None:
    """Each object is known by its key; what is not the registry's is left alone."""
    tag = f"{REPOSITORIES}/b/i-x/_manifests/tags/1/current/link"
    found = bucket(A, links=[("b/i-x", A)], revisions=[("b/i-x", M)])
    found.add(Thing(tag, 71, NOW), "images")
    found.add(Thing("backups/me.tar.gz.age", 5, 0), "images")
    found.add(Thing(f"{REPOSITORIES}/b/i-x/_uploads/1/data", 5, 0), "images")
    assert set(found.blobs) == {A}
    assert set(found.layers) == {("b/i-x", A)}
    assert set(found.revisions) == {("b/i-x", M)}
    assert set(found.tags) == {("b/i-x", "1")}
    assert found.size == 10
    assert layer_key("", ("x", A)).startswith("docker/registry/v2/repositories/x/_layers/sha256/aaa")


def test_what_manifests_name() -> None:
    """Configuration, layers, and the manifests of an index, of each kind of manifest."""
    assert references({"config": {"digest": A}, "layers": [{"digest": B}, {"size": 1}, "x"]}) == [A, B]
    assert references({"manifests": [{"digest": M}], "fsLayers": [{"blobSum": C}]}) == [M, C]
    assert references({"layers": None}) == []


def test_two_phases() -> None:
    """First the links go, the blob only an hour after nobody could find it any more."""
    garbage = bucket(A, B, links=[("x", A), ("y", A), ("x", B)], revisions=[("x", M)])
    first = run(garbage, {("x", M): [B]})
    assert first.unlink == tuple(sorted(layer_key("images", place) for place in (("x", A), ("y", A))))
    assert (first.delete, first.unlinked) == ((), {A: NOW})
    hidden = bucket(A, B, links=[("x", B)], revisions=[("x", M)])
    assert run(hidden, {("x", M): [B]}, {A: NOW - HOUR + 1}).delete == ()
    assert run(hidden, {("x", M): [B]}, {}).unlinked == {A: NOW}
    last = run(hidden, {("x", M): [B]}, {A: NOW - HOUR})
    assert (last.delete, last.frees, last.unlinked) == ((blob_key(A),), 10, {})


def test_what_is_young_stays() -> None:
    """A blob, or a link to it, that was written within the grace may belong to a push that goes on."""
    young = bucket(A, links=[("x", A)], age=HOUR)
    assert run(young, {}, {A: 0}) == Round()
    mixed = contents({blob_key(A): 2 * DAY, layer_key("images", ("x", A)): 2 * DAY, layer_key("images", ("y", A)): 60})
    assert run(mixed, {}) == Round()


def test_a_manifest_that_slipped_in() -> None:
    """Where a push came between the phases, its links are written again and nothing goes."""
    found = bucket(A, B, links=[("x", B)], revisions=[("x", M)])
    repaired = run(found, {("x", M): [A, B]}, {A: 0})
    assert repaired.relink == (("x", A),)
    assert (repaired.unlink, repaired.delete, repaired.unlinked) == ((), (), {})


def test_old_manifests_without_a_tag_go() -> None:
    """A tag that was moved leaves a manifest: it counts while it is young, and goes with its layers later."""
    tag = f"{REPOSITORIES}/x/_manifests/tags/1/current/link"
    found = bucket(M, N, A, links=[("x", A)], revisions=[("x", M), ("x", N)])
    found.add(Thing(tag, 71, NOW), "images")
    assert roots(found, {tag: N}, DAY, NOW) == [("x", N)]
    assert set(roots(found, {tag: N}, 3 * DAY, NOW)) == {("x", M), ("x", N)}
    assert roots(found, {}, DAY, NOW) == []
    swept = run(found, {("x", N): [A]})
    assert swept.unlink == (f"{REPOSITORIES}/x/_manifests/revisions/sha256/{'d' * 64}/link",)
    assert swept.unlinked == {M: NOW}


def test_manifests_to_be_read() -> None:
    """Only what counts, is there and was not read is read."""
    assert unknown(bucket(M, N), {N}, [("x", M), ("y", M), ("x", N), ("x", C)]) == [M]


@st.composite
def buckets(draw: st.DrawFn) -> tuple[Contents, dict[Place, list[str]], dict[str, float]]:
    """Draw any bucket, any manifests, and anything remembered."""
    digests = st.sampled_from([A, B, C])
    places = st.lists(st.tuples(st.sampled_from("xy"), digests), max_size=6, unique=True)
    keys = {blob_key(blob): draw(st.sampled_from([0.0, 2 * DAY])) for blob in draw(st.sets(digests))}
    keys |= {layer_key("images", place): draw(st.sampled_from([0.0, 2 * DAY])) for place in draw(places)}
    needed = {(name, M): draw(st.lists(digests, max_size=3)) for name in draw(st.sets(st.sampled_from("xy")))}
    unlinked = draw(st.dictionaries(digests, st.sampled_from([NOW, NOW - 2 * HOUR])))
    return contents(keys), needed, unlinked


@given(drawn=buckets())
def test_nothing_that_is_needed_ever_goes(drawn: tuple[Contents, dict[Place, list[str]], dict[str, float]]) -> None:
    """No blob of a manifest goes; none goes that could be found, is young, or was hidden only a moment ago."""
    found, needed, unlinked = drawn
    done = run(found, needed, unlinked)
    used = {digest for digests in needed.values() for digest in digests}
    for digest, blob in found.blobs.items():
        if blob.key in done.delete:
            assert digest not in used
            assert not any(place[1] == digest for place in found.layers)
            assert NOW - blob.modified_at >= DAY
            assert NOW - unlinked[digest] >= HOUR
    for place, link in found.layers.items():
        if link.key in done.unlink:
            assert place[1] not in used
    for name, digest in ((name, digest) for (name, _), digests in needed.items() for digest in digests):
        if digest in found.blobs:
            assert (name, digest) in found.layers or (name, digest) in done.relink
