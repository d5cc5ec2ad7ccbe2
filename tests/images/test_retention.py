"""What goes when disk is short: tables, and properties of plans for stocks of any shape."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from binderlet.images.retention import (
    Budget,
    Item,
    Kind,
    Limit,
    Part,
    Removal,
    Rules,
    Shelf,
    Volume,
    decayed,
    order,
    plan,
)

NOW = 1_000_000.0
DAY = 86400.0
RULES = Rules(min_age=3600, owner_share=1.0)
BASE, ENV, OTHER_ENV = Part("base", 400), Part("env", 600), Part("other", 300)


def image(name: str, *parts: Part, cost: float = 10, popularity: float = 1, keep: str = "", **more: object) -> Item:
    """Make an image that nobody used today."""
    made = Item(name, Kind.IMAGE, name, parts, cost=cost, popularity=popularity, last_used=NOW - DAY, keep=keep)
    return replace(made, **more)  # type: ignore[arg-type]  # a test's own shorthand


def limit(used: int, stop: int) -> Limit:
    """Make a limit that is passed."""
    return Limit(frozenset({"disk"}), used, start=stop, stop=stop)


def gone(steps: Sequence[Removal]) -> list[list[str]]:
    """Give the names, step by step."""
    return [[item.name for item in step.items] for step in steps]


def test_nothing_goes_while_there_is_room() -> None:
    """Below the mark at which it starts nothing is removed, above it until the lower mark is reached."""
    items = [image(f"i{number}", Part(f"p{number}", 100), popularity=number) for number in range(1, 11)]
    marks = {"start": 950, "stop": 700}
    assert plan(items, [Limit(frozenset({"disk"}), 950, **marks)], RULES, NOW) == []
    steps = plan(items, [Limit(frozenset({"disk"}), 1000, **marks)], RULES, NOW)
    assert gone(steps) == [["i1"], ["i2"], ["i3"]]
    assert sum(step.frees for step in steps) == 300


def test_the_least_valuable_byte_goes_first() -> None:
    """Value is cost times popularity, for each byte that is freed."""
    items = [
        image("quick to build", Part("a", 100), cost=1, popularity=5),
        image("slow to build", Part("b", 100), cost=100, popularity=5),
        image("large", Part("c", 5_000), cost=100, popularity=5),
        image("unpopular", Part("d", 100), cost=100, popularity=0.01),
    ]
    steps = order(items, RULES, NOW)
    assert gone(steps) == [["unpopular"], ["quick to build"], ["large"], ["slow to build"]]
    assert [step.worth for step in steps] == [1, 5, 500, 500]


def test_shared_layers_are_freed_by_the_last_one() -> None:
    """An image frees only what no other has; what several share is freed when all of them go."""
    one, two = image("one", BASE, Part("x", 10)), image("two", BASE, Part("y", 20))
    shelf = Shelf([one, two], RULES, NOW)
    assert shelf.frees([one]) == 10
    assert shelf.frees([one, two]) == 430
    assert shelf.used() == 430
    assert one.size == 410
    steps = order([one, two], RULES, NOW)
    assert sum(step.frees for step in steps) == 430


def test_an_environment_goes_with_what_is_built_on_it() -> None:
    """Where many small images share one large unpopular environment, all of it is one step, the images first."""
    environment = Item("env", Kind.ENVIRONMENT, "env", (BASE, ENV), cost=60, popularity=0.02, last_used=NOW - DAY)
    small = [image(f"small{number}", BASE, ENV, Part(f"s{number}", 1), cost=2, popularity=0.01) for number in (1, 2)]
    popular = image("popular", BASE, OTHER_ENV, cost=60, popularity=50)
    base = Item("base", Kind.BASE, "base", (BASE,), keep="builds use it as their base")
    (step,) = plan([environment, *small, popular, base], [limit(1302, 800)], RULES, NOW)
    assert gone([step]) == [["small1", "small2", "env"]]
    assert step.frees == 602


def test_what_must_stay_stays_with_all_it_is_made_of() -> None:
    """An image that runs keeps the layers of its environment; what is new stays, too; both may pass the budget."""
    runs = image("runs", BASE, ENV, keep="a session runs it")
    new = image("new", BASE, OTHER_ENV, last_used=NOW - 10)
    environment = Item("env", Kind.ENVIRONMENT, "env", (BASE, ENV), last_used=NOW - DAY)
    shelf = Shelf([runs, new, environment], RULES, NOW)
    assert shelf.keep(runs) == "a session runs it"
    assert shelf.keep(new) == "it was made or used a moment ago"
    assert shelf.keep(environment) == ""
    assert plan([runs, new, environment], [limit(1300, 0)], RULES, NOW) == []


def test_an_owner_with_more_than_a_share_gives_first() -> None:
    """Images of an owner over the share count less, in proportion; those of nobody have no share."""
    rules = Rules(min_age=0, owner_share=0.25, budget=1000)
    greedy = [image(f"g{number}", Part(f"g{number}", 250), owner="greedy", popularity=1.5) for number in range(3)]
    modest = image("m", Part("m", 250), owner="modest")
    shelf = Shelf([*greedy, modest], rules, NOW)
    assert shelf.owner_factor("greedy") == pytest.approx(1 / 3)
    assert shelf.owner_factor("modest") == shelf.owner_factor("") == 1
    steps = plan([*greedy, modest], [limit(1000, 500)], rules, NOW)
    assert all(item.owner == "greedy" for step in steps for item in step.items)


def test_junk_and_what_is_too_old_goes_though_there_is_room() -> None:
    """Leftovers go as soon as they are old enough; images that nobody launches go at disk.max_age."""
    rules = Rules(min_age=3600, max_age=30 * DAY)
    junk = image("junk", Part("j", 5), is_junk=True)
    fresh_junk = image("fresh", Part("f", 5), is_junk=True, last_used=NOW - 60)
    old = image("old", BASE, Part("o", 7), last_used=NOW - 31 * DAY)
    older = image("older", BASE, Part("p", 9), last_used=NOW - 40 * DAY)
    log = image("log", Part("l", 5), kind=Kind.LOG, last_used=NOW - 90 * DAY)
    steps = plan([junk, fresh_junk, old, older, log], [Limit(frozenset({"disk"}), 500, 10**6, 10**6)], rules, NOW)
    assert gone(steps) == [["junk"], ["old"], ["older"]]
    assert [step.frees for step in steps] == [5, 7, 409]
    assert "disk.max_age" in steps[1].why


def test_only_the_tight_file_system_is_tidied() -> None:
    """Where the engine has a disk of its own, what lies on the other one stays."""
    here = image("here", Part("h", 100), volume="state", popularity=0.001)
    there = image("there", Part("t", 100), volume="engine", popularity=100)
    limits = [Limit(frozenset({"state"}), 100, 200, 150), Limit(frozenset({"engine"}), 100, 50, 40)]
    assert gone(plan([here, there], limits, RULES, NOW)) == [["there"]]
    both = [*limits, Limit(frozenset({"state", "engine"}), 200, 150, 90)]
    assert gone(plan([here, there], both, RULES, NOW)) == [["here"], ["there"]]


def test_an_estimate_that_changed_is_made_anew() -> None:
    """When what a bundle frees or is worth has changed since it was ranked, it is ranked again."""
    shared = Part("shared", 1000)
    first = image("first", shared, Part("1", 10), cost=1, popularity=0.001)
    second = image("second", shared, Part("2", 10), cost=50)
    third = image("third", Part("3", 100), cost=10)
    assert gone(order([first, second, third], RULES, NOW)) == [["first"], ["second"], ["third"]]


def test_popularity_decays() -> None:
    """A launch counts half after every half life; one of the future counts whole."""
    assert decayed([(NOW, 2), (NOW - DAY, 4), (NOW + DAY, 1)], NOW, DAY) == 5


def test_budget_of_file_systems() -> None:
    """Each file system has a limit, all together where there is a total; room is what the tightest leaves."""
    volumes = [Volume("state", 100, 900), Volume("engine", 300, 700)]
    budget = Budget(0, spare=100, start_at=0.9, stop_at=0.8)
    assert budget.limits(volumes) == [
        Limit(frozenset({"state"}), 100, 850, 800),
        Limit(frozenset({"engine"}), 300, 850, 800),
    ]
    assert budget.room(volumes) == 700
    together = Budget(600, spare=0, start_at=0.9, stop_at=0.8)
    assert together.limits(volumes)[2] == Limit(frozenset({"state", "engine"}), 400, 540, 480)
    assert together.room(volumes) == 200
    assert Budget(100).room(volumes) == 0
    assert Budget(100, spare=1000).limits(volumes)[2].start == 0
    assert Budget().room([]) == 0


# Properties.


@st.composite
def stocks(draw: st.DrawFn) -> list[Item]:
    """Draw items that share layers as images do: each is a way from the root of a tree, and some are in use."""
    items = []
    for number in range(draw(st.integers(0, 12))):
        depth = draw(st.integers(0, 3))
        chain: list[Part] = []
        path = ""
        for _ in range(depth):
            path += draw(st.sampled_from("ab"))
            chain.append(Part(path, 1 + len(path) * 13 + (7 if path.endswith("a") else 0)))
        chain.append(Part(f"own{number}", draw(st.integers(0, 50))))
        items.append(
            Item(
                f"id{number}",
                Kind.IMAGE,
                f"name{number}",
                tuple(chain),
                owner=draw(st.sampled_from(["", "o1", "o2"])),
                cost=draw(st.floats(0, 100)),
                popularity=draw(st.floats(0, 10)),
                last_used=NOW - draw(st.sampled_from([0, 10 * DAY])),
                keep=draw(st.sampled_from(["", "", "", "it runs"])),
                is_junk=draw(st.booleans()) and draw(st.booleans()),
            )
        )
    return items


def bytes_of(items: Sequence[Item]) -> int:
    """Give what items take on a disk that keeps each layer once."""
    return sum({part.id: part.size for item in items for part in item.parts}.values())


@given(items=stocks(), share=st.floats(0, 1), owner_share=st.floats(0.01, 1))
def test_plans(items: list[Item], share: float, owner_share: float) -> None:
    """A plan removes nothing that must stay, nothing twice, counts what it frees exactly, and stops in time."""
    used = bytes_of(items)
    stop = int(used * share)
    rules = Rules(min_age=3600, owner_share=owner_share, budget=used)
    steps = plan(items, [limit(used, stop)], rules, NOW)
    removed = [item for step in steps for item in step.items]
    assert len({item.id for item in removed}) == len(removed)
    assert not any(item.keep or NOW - item.last_used < rules.min_age for item in removed)
    left = list(items)
    freed_before_last = used
    for step in steps:
        freed_before_last = bytes_of(left)
        left = [item for item in left if item not in step.items]
        assert freed_before_last - bytes_of(left) == step.frees
    if steps and not any(item.is_junk for item in removed):
        assert freed_before_last > stop, "it went on though there was room"
    if bytes_of(left) > stop:  # then nothing is left that could free anything
        shelf = Shelf(left, rules, NOW)
        movable = [item for item in left if not shelf.keep(item)]
        assert shelf.frees(movable) == 0


@given(items=stocks())
def test_the_order_is_the_plan_for_ever_less_room(items: list[Item]) -> None:
    """What goes first when a little room is needed also goes first when much is."""
    whole = order(items, RULES, NOW)
    used = bytes_of(items)
    for stop in (used // 2, used // 4):
        part = plan(items, [limit(used, stop)], RULES, NOW)
        assert whole[: len(part)] == part
