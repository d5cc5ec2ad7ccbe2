"""Which images leave the bucket when it holds too much."""

from __future__ import annotations

from binderlet.images.bucket_budget import bucket_items, over_budget, reason_to_keep
from binderlet.images.retention import Item, Kind, Rules
from binderlet.images.sweep import Contents, Place, Thing
from binderlet.images.transfer_record import Entry

NOW = 1_700_000_000.0
DAY = 86400.0
KNOWN = {
    "b/i-old:1": Entry("b/i-old:1", build_seconds=60, launched_at=NOW - 30 * DAY, launches=1, environment="e:k"),
    "b/i-new:1": Entry("b/i-new:1", build_seconds=90, launched_at=NOW - DAY, launches=50, environment="e:l"),
}


def world() -> tuple[Contents, dict[Place, list[str]], dict[str, str]]:
    """Two images, each on an environment of its own, on one base layer."""
    contents, needed, tagged = Contents(), dict[Place, list[str]](), dict[str, str]()
    layers = {"base": 100, "k": 500, "l": 500, "old": 10, "new": 10}
    images = {"b/i-old": ["base", "k", "old"], "b/i-new": ["base", "l", "new"], "e": ["base", "k"], "n": []}
    for name, digests in images.items():
        tag = "k" if name == "e" else "1"
        manifest = f"manifest of {name}"
        contents.tags[name, tag] = Thing(f"{name}/{tag}", 71, NOW - 60 * DAY)
        contents.blobs[manifest] = Thing(manifest, 1, NOW - 60 * DAY)
        needed[name, manifest] = [*digests, "lost"]
        tagged[f"{name}/{tag}"] = manifest
    contents.blobs |= {digest: Thing(digest, size, NOW - 60 * DAY) for digest, size in layers.items()}
    return contents, needed, tagged


def items(**keep: str) -> dict[str, Item]:
    """Give the items by name."""
    contents, needed, tagged = world()
    reasons = {key.replace("_", "-") + ":1": reason for key, reason in keep.items()}
    found = bucket_items(
        contents,
        needed,
        tagged,
        lambda name: KNOWN.get(name, Entry(name)),
        lambda name: reasons.get(name.removeprefix("b/"), ""),
        now=NOW,
    )
    return {item.name: item for item in found}


def test_items() -> None:
    """An image's parts are its manifest and layers; an environment is worth what is built on it."""
    found = items()
    assert {part.id for part in found["b/i-old:1"].parts} == {"manifest of b/i-old", "base", "k", "old"}
    assert found["e:k"].kind is Kind.ENVIRONMENT
    assert found["e:k"].cost == 60
    assert found["e:k"].last_used == NOW - 30 * DAY
    assert found["n:1"].cost == 60
    assert found["b/i-new:1"].popularity > 40


def test_the_least_valuable_goes() -> None:
    """Over its budget the bucket loses what nobody launches, with its environment, and nothing that must stay."""
    everything = list(items(n="it is no image of ours").values())
    used = 1124
    assert over_budget(everything, used, 0, Rules(), NOW) == []
    assert over_budget(everything, used, 2000, Rules(), NOW) == []
    (step,) = [step for step in over_budget(everything, used, 800, Rules(), NOW) if step.frees > 100]
    assert {item.name for item in step.items} == {"b/i-old:1", "e:k"}
    kept = list(items(i_old="it is on this machine", i_new="pinned", n="x").values())
    assert over_budget(kept, used, 800, Rules(), NOW) == [] or all(
        not item.keep for step in over_budget(kept, used, 800, Rules(), NOW) for item in step.items
    )


def test_reasons() -> None:
    """What is not ours, here, needed or pinned stays."""
    here, claimed = {"b/i-x:1"}, {"b/i-y:1": "it is reserved"}
    assert reason_to_keep("notes:1", ["b/i-"], here, claimed, "") == "it is no image of ours"
    assert reason_to_keep("b/i-x:1", ["b/i-"], here, claimed, "") == "it is on this machine"
    assert reason_to_keep("b/i-y:1", ["b/i-"], here, claimed, "") == "it is reserved"
    assert reason_to_keep("b/i-z:1", ["b/i-"], here, claimed, "pinned") == "pinned"
    assert reason_to_keep("b/i-z:1", ["b/i-"], here, claimed, "") == ""
