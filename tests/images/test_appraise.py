"""What images are worth, and which must stay."""

from __future__ import annotations

from dataclasses import replace

import pytest

from binderlet.events.usage import ImageUse
from binderlet.images.appraise import CONTENT_COST, Claims, appraise, owner_of
from binderlet.images.retention import GB, Item, Kind, Part
from binderlet.images.stock import Stock, Stored

NOW = 1_000_000.0
DAY = 86400.0
ENV_LABELS = {"binderlet.environment": "k"}
REPO = "https://github.com/o/r"


def stored(name: str, kind: Kind = Kind.IMAGE, *, size: int = 100, age: float = DAY, **labels: str) -> Stored:
    """An image that was made a day ago."""
    names = (name,) if name else ()
    return Stored(
        f"sha256:{name or kind}", names, kind, size, NOW - age, {k.replace("_", "."): v for k, v in labels.items()}
    )


def items_of(
    *images: Stored,
    uses: dict[str, ImageUse] | None = None,
    claims: Claims | None = None,
    in_use: frozenset[str] = frozenset(),
    pinned: str = "",
) -> dict[str, Item]:
    """Appraise and give the items by name."""
    parts = {image.id: (Part("base", 50), Part(image.id, image.size)) for image in images}
    found = appraise(
        Stock(images, parts, in_use, ()),
        uses or {},
        lambda item, names: "it is pinned" if pinned and pinned in (item.repository, *names) else "",
        claims or Claims(),
        now=NOW,
        half_life=DAY,
    )
    return {item.name: item for item in found}


def test_cost_is_what_the_build_took() -> None:
    """The time of the build is on record, or estimated by size; with its environment here a new commit is cheap."""
    environment = stored("env", Kind.ENVIRONMENT, binderlet_environment="k", size=GB)
    content = stored("content", binderlet_environment="k")
    alone = stored("alone", binderlet_environment="gone")
    items = items_of(
        environment,
        content,
        alone,
        stored("unknown", size=GB),
        stored("base", Kind.BASE),
        uses={"content": ImageUse(REPO, [(NOW, 3)], NOW, 90.0), "alone": ImageUse(REPO, [], 0.0, 70.0)},
    )
    assert items["content"].cost == CONTENT_COST
    assert items["env"].cost == 90
    assert items["alone"].cost == 70
    assert items["unknown"].cost == 70
    assert items["base"].cost == 0
    assert items_of(environment)["env"].cost == 70


def test_popularity_and_use() -> None:
    """Launches count half a day later; an environment has those of all that is built on it."""
    environment = stored("env", Kind.ENVIRONMENT, binderlet_environment="k", age=10 * DAY)
    one, two = (stored(name, binderlet_environment="k") for name in ("one", "two"))
    uses = {"one": ImageUse(REPO, [(NOW - DAY, 4)], NOW - DAY / 2), "two": ImageUse("", [(NOW, 1)], NOW - 5)}
    items = items_of(environment, one, two, uses=uses)
    assert items["one"].popularity == pytest.approx(2.5)
    assert items["one"].last_used == NOW - DAY / 2
    assert items["env"].popularity == pytest.approx(2.5 + 1.5, rel=0.01)
    assert items["env"].last_used == NOW - 5
    assert items["env"].launches == 5
    assert (items["env"].owner, items["one"].owner) == ("", "github.com/o")


def test_several_names_count_together() -> None:
    """An image with two names has the launches of both."""
    image = replace(stored("a"), names=("a", "b"))
    uses = {"a": ImageUse(REPO, [(NOW, 1)], 5.0, 3.0), "b": ImageUse("", [(NOW, 2)], 9.0, 7.0)}
    item = items_of(image, uses=uses)["a"]
    assert (item.launches, item.cost, item.repository) == (3, 7.0, REPO)


def test_what_must_stay() -> None:
    """Each reason to keep an image is said; a replaced image is junk; labels name the repository."""
    images = [stored(name) for name in ("runs", "claimed", "pinned", "free")]
    shared = replace(stored("shared"), is_shared_name=True)
    base = stored("base", Kind.BASE)
    labelled = stored("labelled", repo2docker_repo="https://example.org/x")
    items = items_of(
        *images,
        shared,
        base,
        labelled,
        stored("", Kind.ENVIRONMENT),
        claims=Claims({"claimed": "it is being built"}, ["base"]),
        in_use=frozenset({"sha256:runs"}),
        pinned="pinned",
    )
    assert items["runs"].keep == "a session runs it"
    assert items["claimed"].keep == "it is being built"
    assert items["pinned"].keep == "it is pinned"
    assert items["base"].keep == "builds use it as their base"
    assert "another name" in items["shared"].keep
    assert items["free"].keep == ""
    assert items["labelled"].repository == "https://example.org/x"
    assert items["sha256:environment"].is_junk
    assert not items["base"].is_junk


def test_without_a_history_no_image_goes() -> None:
    """Where launches cannot be read, popular images must not go for unpopular ones; base images may."""
    items = items_of(stored("a"), stored("base", Kind.BASE), claims=Claims(is_history_known=False))
    assert "history" in items["a"].keep
    assert items["base"].keep == ""


def test_popular_repositories_keep_their_newest_image() -> None:
    """Of the most launched repositories the image used last stays, as long as there is room for all of them."""
    old, new, other, rare = (stored(name) for name in ("old", "new", "other", "rare"))
    uses = {
        "old": ImageUse(REPO, [(NOW, 50)], NOW - 100),
        "new": ImageUse(REPO, [(NOW, 5)], NOW - 10),
        "other": ImageUse("https://github.com/o/s", [(NOW, 9)], NOW - 10),
        "rare": ImageUse("https://github.com/o/t", [(NOW, 1)], NOW - 10),
    }

    def kept(popular: int, room: int) -> list[str]:
        claims = Claims(popular=popular, popular_room=room)
        found = items_of(old, new, other, rare, uses=uses, claims=claims)
        return [name for name, item in found.items() if item.keep]

    assert kept(5, 10**6) == ["new", "other"]
    assert kept(1, 10**6) == ["new"]
    assert kept(5, 150) == ["new"]
    assert kept(0, 10**6) == []


@pytest.mark.parametrize(
    ("address", "owner"),
    [("https://GitHub.com/Owner/repo", "github.com/owner"), ("https://example.org", "example.org/"), ("", "")],
)
def test_owners(address: str, owner: str) -> None:
    """An owner is the host and the first part of the path."""
    assert owner_of(address) == owner
