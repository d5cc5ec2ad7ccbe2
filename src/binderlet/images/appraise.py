"""What the images that are here are worth, and which of them must stay (pure)."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from urllib.parse import urlsplit

from binderlet.events.usage import ImageUse
from binderlet.images.retention import GB, Item, Kind, decayed
from binderlet.images.stock import ENVIRONMENT_LABEL, REPOSITORY_LABEL, Stock, Stored

PinOf = Callable[[Item, Iterable[str]], str]
"""Says which pin keeps an item that also has these names; empty where none does."""
CONTENT_COST = 3.0
"""Seconds that adding a repository's files to an environment that is here takes at most."""
LEAST_COST = 10.0
COST_PER_GB = 60.0
"""Seconds that a build is taken to last whose time is not on record."""


@dataclass(frozen=True, slots=True)
class Claims:
    """Who needs what just now."""

    images: Mapping[str, str] = field(default_factory=dict)
    """Names of images, each with the reason for which it must stay."""
    bases: Collection[str] = ()
    """Names of the base images that builds use."""
    popular: int = 0
    """How many of the most launched repositories keep their newest image ..."""
    popular_room: int = 0
    """... as long as these images take no more bytes than this together."""
    is_history_known: bool = True
    """Whether launches could be read; where they could not, no image goes."""


def owner_of(repository: str) -> str:
    """Give whose share a repository counts for: its host and the first part of its path."""
    parts = urlsplit(repository)
    first = parts.path.strip("/").partition("/")[0]
    return f"{parts.hostname}/{first}".lower() if parts.hostname else ""


def appraise(
    stock: Stock, uses: Mapping[str, ImageUse], pin_of: PinOf, claims: Claims, *, now: float, half_life: float
) -> list[Item]:
    """Give all of a stock as items that ``retention.plan`` can choose from."""
    environments = {_environment(image) for image in stock.images if image.kind is Kind.ENVIRONMENT}
    built_from: dict[str, list[Stored]] = {}
    for image in stock.images:
        if image.kind is Kind.IMAGE:
            built_from.setdefault(_environment(image), []).append(image)
    known = {image.id: _use(image, uses) for image in stock.images}
    popularity = {
        image.id: decayed([*known[image.id].launches, (image.made_at, 1)], now, half_life) for image in stock.images
    }
    items = []
    for image in stock.images:
        use = known[image.id]
        built_on = built_from.get(_environment(image), []) if image.kind is Kind.ENVIRONMENT else []
        own = Item(
            f"image:{image.id}",
            image.kind,
            image.name,
            stock.parts.get(image.id, ()),
            "engine",
            repository=use.repository or image.labels.get(REPOSITORY_LABEL, ""),
            cost=_cost(image, use, environments, [known[other.id] for other in built_on]),
            popularity=popularity[image.id] + sum(popularity[other.id] for other in built_on),
            launches=use.count + sum(known[other.id].count for other in built_on),
            last_used=max([image.made_at, *(known[other.id].last_launch for other in (image, *built_on))]),
            is_junk=not image.names and image.kind is not Kind.BASE,
        )
        owner = owner_of(own.repository) if image.kind is Kind.IMAGE else ""
        items.append(replace(own, owner=owner, keep=_keep(image, replace(own, owner=owner), stock, pin_of, claims)))
    return [*_with_popular(items, known, claims, now, half_life), *stock.leftovers]


def _environment(image: Stored) -> str:
    return image.labels.get(ENVIRONMENT_LABEL, "")


def _use(image: Stored, uses: Mapping[str, ImageUse]) -> ImageUse:
    """Give what is known of an image by any of its names."""
    found = [uses[name] for name in image.names if name in uses]
    if len(found) == 1:
        return found[0]
    return ImageUse(
        repository=next((use.repository for use in found), ""),
        launches=[launch for use in found for launch in use.launches],
        last_launch=max((use.last_launch for use in found), default=0.0),
        build_seconds=max((use.build_seconds for use in found), default=0.0),
    )


def _cost(image: Stored, use: ImageUse, environments: Collection[str], built_on: Sequence[ImageUse]) -> float:
    estimate = LEAST_COST + COST_PER_GB * image.size / GB
    if image.kind is Kind.BASE or not image.names:
        return 0.0
    if image.kind is Kind.ENVIRONMENT:
        return max((each.build_seconds for each in built_on), default=0.0) or estimate
    if _environment(image) and _environment(image) in environments:
        return min(use.build_seconds or CONTENT_COST, CONTENT_COST)
    return use.build_seconds or estimate


def _keep(image: Stored, item: Item, stock: Stock, pin_of: PinOf, claims: Claims) -> str:
    if image.id in stock.in_use:
        return "a session runs it"
    if reason := next((claims.images[name] for name in image.names if name in claims.images), ""):
        return reason
    if any(name in claims.bases for name in image.names):
        return "builds use it as their base"
    if image.is_shared_name:
        return "it has another name, too, which is not ours"
    if not claims.is_history_known and image.kind in {Kind.IMAGE, Kind.ENVIRONMENT}:
        return "the history cannot be read, so nobody knows how often it is launched"
    return pin_of(item, image.names)


def _with_popular(
    items: Sequence[Item], known: Mapping[str, ImageUse], claims: Claims, now: float, half_life: float
) -> list[Item]:
    """Keep the newest image of each of the most launched repositories, so far as there is room for all of them."""
    newest: dict[str, Item] = {}
    launches: dict[str, float] = {}
    for item in items:
        if item.kind is Kind.IMAGE and item.repository:
            use = known[item.id.removeprefix("image:")]
            launches[item.repository] = launches.get(item.repository, 0.0) + decayed(use.launches, now, half_life)
            before = newest.get(item.repository)
            if before is None or item.last_used > before.last_used:
                newest[item.repository] = item
    ranked = sorted((name for name in newest if launches[name] > 1), key=lambda name: (-launches[name], name))
    kept: set[str] = set()
    parts: dict[str, int] = {}
    for repository in ranked[: claims.popular]:
        more = {part.id: part.size for part in newest[repository].parts} | parts
        if sum(more.values()) > claims.popular_room:
            break
        parts = more
        kept.add(newest[repository].id)
    reason = "its repository is one of the most launched"
    return [replace(item, keep=reason) if item.id in kept and not item.keep else item for item in items]
