"""What the operator sees of what is kept (pure): one row for each item, in the order in which they would go."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from binderlet.images.pins import normal
from binderlet.images.retention import Item, Removal, Rules, Shelf, order


def rows(items: Collection[Item], rules: Rules, now: float) -> list[dict[str, Any]]:
    """Give a row for each item: first what would go first, at last what stays."""
    shelf = Shelf(items, rules, now)
    ranks = {item.id: rank for rank, step in enumerate(order(items, rules, now), start=1) for item in step.items}
    found = [row(item, shelf, ranks.get(item.id), now) for item in items]
    return sorted(found, key=lambda each: (each["rank"] is None, each["rank"] or 0, -each["size"], each["name"]))


def row(item: Item, shelf: Shelf, rank: int | None, now: float) -> dict[str, Any]:
    """Give one item as JSON; sizes in bytes, times in seconds."""
    return {
        "id": item.id,
        "kind": str(item.kind),
        "name": item.name,
        "repository": item.repository,
        "owner": item.owner,
        "size": item.size,
        "own": shelf.frees([item]),
        "launches": item.launches,
        "popularity": round(item.popularity, 3),
        "cost_seconds": round(item.cost, 1),
        "idle_seconds": round(max(0.0, now - item.last_used)),
        "owner_factor": round(shelf.owner_factor(item.owner), 3),
        "rank": rank,
        "keep": shelf.keep(item),
    }


def step_body(step: Removal) -> dict[str, Any]:
    """Give a removal as JSON."""
    return {
        "names": [item.name for item in step.items],
        "kind": str(step.items[0].kind),
        "frees": step.frees,
        "costs_seconds": round(step.worth, 1),
        "why": step.why,
    }


def matching(found: Sequence[Mapping[str, Any]], name: str) -> list[Mapping[str, Any]]:
    """Give the rows that a person means: by name, its beginning, the id, or the repository's address."""
    wanted = normal(name)
    if not wanted:
        return []
    exact = [row for row in found if wanted in {normal(row["name"]), normal(row["repository"]), row["id"]}]
    return exact or [row for row in found if _begins(row, name, wanted)]


def _begins(row: Mapping[str, Any], name: str, wanted: str) -> bool:
    image_id = str(row["id"]).removeprefix("image:").removeprefix("sha256:")
    return bool(normal(row["name"]).startswith(wanted) or image_id.startswith(name.removeprefix("sha256:")))
