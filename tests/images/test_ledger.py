"""The rows that an operator sees."""

from __future__ import annotations

from binderlet.images.ledger import matching, rows, step_body
from binderlet.images.retention import Item, Kind, Part, Removal, Rules

NOW = 1_000_000.0
SHARED = Part("s", 100)
REPO = "https://github.com/o"


def image(image_id: str, name: str, size: int, popularity: float, launches: int) -> Item:
    """Make an image that shares a layer with the others."""
    parts = (SHARED, Part(name, size))
    return Item(
        f"image:sha256:{image_id}",
        Kind.IMAGE,
        f"b/i-{name}:1",
        parts,
        owner="github.com/o",
        repository=f"{REPO}/{name}",
        cost=1,
        popularity=popularity,
        launches=launches,
    )


ITEMS = [
    image("aa11", "one", 10, 9, 7),
    image("bb22", "two", 20, 1, 0),
    Item("image:sha256:cc33", Kind.ENVIRONMENT, "b/env:1", (SHARED,), keep="it runs"),
]


def test_rows_are_in_the_order_in_which_they_would_go() -> None:
    """First what would go first, at last what stays; with all numbers that the decision rests on."""
    found = rows(ITEMS, Rules(owner_share=1), NOW)
    assert [(row["name"], row["rank"]) for row in found] == [("b/i-two:1", 1), ("b/i-one:1", 2), ("b/env:1", None)]
    assert found[1] | {"idle_seconds": 0} == {
        "id": "image:sha256:aa11",
        "kind": "image",
        "name": "b/i-one:1",
        "repository": "https://github.com/o/one",
        "owner": "github.com/o",
        "size": 110,
        "own": 10,
        "launches": 7,
        "popularity": 9,
        "cost_seconds": 1,
        "idle_seconds": 0,
        "owner_factor": 1,
        "rank": 2,
        "keep": "",
    }
    assert found[2]["keep"] == "it runs"


def test_finding_by_name() -> None:
    """An item is found by its name, its beginning, its id or its repository."""
    found = rows(ITEMS, Rules(), NOW)
    for name in ("b/i-one:1", "b/i-on", "aa11", "sha256:aa11", "image:sha256:aa11", "https://github.com/O/one.git"):
        assert [row["name"] for row in matching(found, name)] == ["b/i-one:1"], name
    assert len(matching(found, "b/i-")) == 2
    assert matching(found, "x") == matching(found, "") == []


def test_steps() -> None:
    """A removal says what goes, what that frees and costs, and why."""
    step = Removal((ITEMS[0], ITEMS[1]), 130, 10.04, "because")
    assert step_body(step) == {
        "names": ["b/i-one:1", "b/i-two:1"],
        "kind": "image",
        "frees": 130,
        "costs_seconds": 10.0,
        "why": "because",
    }
