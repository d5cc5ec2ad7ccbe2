"""What is planned ahead: told as a story with a clock, and held to its budgets whatever comes."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from binderlet.config.schema import StandbySettings
from binderlet.model import RepoSpec
from binderlet.sessions.standby import (
    COST,
    NO_ROOM,
    STALE,
    TOO_OLD,
    Crowd,
    Demand,
    Machine,
    Plan,
    Reservation,
    Spare,
    budget_of,
    decayed,
    expected,
    first_to_go,
    plan,
)

GB = 1024**3
ROOMY = Machine(memory=24 * GB, memory_free=20 * GB, swap=24 * GB, swap_free=24 * GB)
CROWD = Crowd(places=40)
SETTINGS = StandbySettings(
    share=0.1, per_image=3, half_life=3600, cover=300, every=5, max_age=7200, floor=0.25, cpu=0.5
)


@dataclass
class Story:
    """Standbys over time: each look does what the plan says, and ``until_quiet`` lets what was started answer."""

    crowd: Crowd = CROWD
    machine: Machine = ROOMY
    settings: StandbySettings = SETTINGS
    now: float = 0.0
    last_start: float = -1000.0
    spares: list[Spare] = field(default_factory=list)
    number: int = 0

    def look(self, *demands: Demand) -> Plan:
        """Plan once and do it."""
        made = plan(
            demands, self.spares, self.crowd, self.machine, self.settings, now=self.now, last_start=self.last_start
        )
        self.spares = [spare for spare in self.spares if spare.session_id not in made.end]
        if made.start:
            self.number += 1
            self.last_start = self.now
            self.spares.append(Spare(f"s{self.number}", made.start, self.now, ready=False))
        return made

    def until_quiet(self, *demands: Demand) -> dict[str, int]:
        """Look every few seconds until nothing is started, and give what is there."""
        for _ in range(200):
            self.now += self.settings.every
            self.spares = [replace(spare, ready=True) for spare in self.spares]
            if not self.look(*demands).start:
                break
        return dict(Counter(spare.key for spare in self.spares))


def test_one_launch_is_worth_one_standby_for_one_half_life() -> None:
    """What was launched once is ready for its next visitor, and forgotten when none comes."""
    story = Story()
    assert story.look().start == ""
    assert story.until_quiet(Demand("a", 1.0)) == {"a": 1}
    story.now += 3600
    assert story.until_quiet(Demand("a", decayed(1.0, 3600, 3600))) == {"a": 1}
    story.now += 60
    assert story.look(Demand("a", decayed(1.0, 3700, 3600))).end == {"s1": STALE}
    assert story.spares == []


def test_a_viral_image_grows_its_pool() -> None:
    """As many standbys as launches come within ``cover``, at most ``per_image`` and the budget."""
    assert [expected(score, SETTINGS) for score in (0.4, 0.5, 10, 20, 40, 1000)] == [0, 1, 1, 2, 3, 3]
    story = Story()
    assert story.until_quiet(Demand("a", 1000), Demand("b", 30), Demand("c", 1)) == {"a": 2, "b": 1, "c": 1}
    assert budget_of(40, 24 * GB, SETTINGS) == 4
    assert budget_of(400, 10 * COST, SETTINGS) == 1


def test_starts_come_one_at_a_time_and_not_too_often() -> None:
    """A standby is started only after the one before it answers, and ``every`` seconds after it."""
    story, demand = Story(), Demand("a", 1000)
    assert story.look(demand).start == "a"
    story.now = 4.0
    assert story.look(demand).start == ""
    story.now = 100.0
    assert story.look(demand).start == "", "the first does not answer yet"
    story.spares = [replace(spare, ready=True) for spare in story.spares]
    assert story.look(demand).start == "a"


@pytest.mark.parametrize(
    ("crowd", "machine"),
    [
        (Crowd(40, taken=1, starting=1), ROOMY),
        (Crowd(40, taken=40), ROOMY),
        (Crowd(40, taken=30, waiting=1), ROOMY),
        (CROWD, replace(ROOMY, cpu=0.6)),
        (CROWD, replace(ROOMY, memory_free=6 * GB)),
        (CROWD, replace(ROOMY, swap_free=5 * GB)),
    ],
    ids=["a launch starts", "no place", "a launch waits", "cpu", "memory", "swap"],
)
def test_nothing_is_started_while_others_need_the_machine(crowd: Crowd, machine: Machine) -> None:
    """Real sessions come first."""
    assert plan([Demand("a", 100)], [], crowd, machine, SETTINGS, now=0).start == ""
    assert plan([Demand("a", 100)], [], CROWD, ROOMY, SETTINGS, now=0).start == "a"


def test_launches_take_the_places_of_standbys() -> None:
    """As places fill, the least wanted standbys go, until none is left."""
    story = Story(settings=SETTINGS.model_copy(update={"share": 1.0}))
    demands = Demand("a", 1000), Demand("b", 1)
    assert story.until_quiet(*demands) == {"a": 3, "b": 1}
    story.crowd = Crowd(40, taken=37)
    assert story.look(*demands).end == {"s1": STALE}
    story.crowd = Crowd(40, taken=39)
    assert list(story.look(*demands).end.values()) == [STALE, STALE]
    story.crowd = Crowd(40, taken=40)
    story.look(*demands)
    assert story.spares == []


def test_short_memory_ends_standbys_one_a_look() -> None:
    """They are the first to go, of the least popular image first; memory comes back with each."""
    story = Story()
    demands = Demand("a", 1000), Demand("b", 1)
    story.until_quiet(*demands)
    story.machine = replace(ROOMY, memory_free=2 * GB)
    ends = [story.look(*demands).end for _ in range(5)]
    assert ends == [{"s4": NO_ROOM}, {"s1": NO_ROOM}, {"s2": NO_ROOM}, {"s3": NO_ROOM}, {}]


def test_while_a_launch_waits_standbys_go() -> None:
    """It may wait for memory rather than for a place."""
    story = Story()
    story.until_quiet(Demand("a", 1000), Demand("b", 1))
    story.crowd = Crowd(40, taken=5, waiting=1)
    assert story.look(Demand("a", 1000), Demand("b", 1)).end == {"s4": NO_ROOM}


def test_old_ones_are_replaced() -> None:
    """At ``max_age`` a standby ends and another is started."""
    story = Story()
    story.until_quiet(Demand("a", 1))
    story.now += 7200
    made = story.look(Demand("a", 1))
    assert (made.end, made.start) == ({"s1": TOO_OLD}, "a")


def test_a_new_image_replaces_the_old() -> None:
    """The key of an image that changed is another one: the old one's standbys are of no use."""
    story = Story()
    story.until_quiet(Demand("a", 1))
    assert story.look(Demand("a2", 2)).end == {"s1": STALE}


def test_a_reservation_passes_the_share_but_not_the_places() -> None:
    """A workshop gets what it asked for, before all that is popular, within the places."""
    story = Story()
    assert story.until_quiet(Demand("w", reserved=30), Demand("a", 1000)) == {"w": 30, "a": 3}
    crowd = Crowd(20, taken=5)
    assert plan([Demand("w", reserved=30), Demand("a", 9)], [], crowd, ROOMY, SETTINGS, now=0).wanted == {"w": 15}


def test_reserved_ones_are_started_first() -> None:
    """Whatever is popular waits until the reservations are met."""
    demands = [Demand("a", 1000), Demand("w", reserved=2)]
    assert plan(demands, [], CROWD, ROOMY, SETTINGS, now=0).start == "w"
    order = first_to_go([Spare("1", "w", 0), Spare("2", "gone", 5), Spare("3", "a", 0)], demands)
    assert [spare.session_id for spare in order] == ["2", "3", "1"]


def test_switched_off_only_reservations_count() -> None:
    """With ``enabled`` false nothing is started for popularity."""
    off = SETTINGS.model_copy(update={"enabled": False})
    made = plan([Demand("a", 1000), Demand("w", reserved=1)], [], CROWD, ROOMY, off, now=0)
    assert made.wanted == {"w": 1}


def test_a_reservation_counts_down() -> None:
    """It is open from its lead to its end, and wants what was not launched yet."""
    made = Reservation("1", RepoSpec("gh", "o/r/HEAD"), "", 10, begins=10_000, ends=20_000, launched=4)
    lead = SETTINGS.lead + 10 * SETTINGS.every
    moments = [10_000 - lead - 1, 10_000 - lead, 15_000, 20_000]
    assert [made.missing(now, SETTINGS) for now in moments] == [0, 6, 6, 0]
    assert replace(made, launched=12).missing(15_000, SETTINGS) == 0


def test_scores_never_grow_by_waiting() -> None:
    """Also when the clock was set back."""
    assert decayed(1.0, -5, 10) == 1.0
    assert decayed(1.0, 10, 10) == 0.5


KEYS = st.sampled_from("abcd")
DEMANDS = st.lists(
    st.builds(Demand, KEYS, st.floats(0, 2000), st.integers(0, 30)), max_size=4, unique_by=lambda demand: demand.key
)
SPARES = st.lists(
    st.builds(Spare, st.uuids().map(str), KEYS, st.floats(0, 20_000), st.booleans()),
    max_size=12,
    unique_by=lambda spare: spare.session_id,
)
CROWDS = st.builds(Crowd, st.integers(0, 60), st.integers(0, 60), st.integers(0, 5), st.integers(0, 3))
MACHINES = st.builds(
    Machine,
    st.just(8 * GB),
    st.integers(0, 8 * GB),
    st.just(4 * GB),
    st.integers(0, 4 * GB),
    st.floats(0, 1),
)


@given(DEMANDS, SPARES, CROWDS, MACHINES, st.tuples(st.floats(0, 20_000), st.floats(0, 20_000)))
def test_budgets_hold_whatever_comes(
    demands: list[Demand], spares: list[Spare], crowd: Crowd, machine: Machine, times: tuple[float, float]
) -> None:
    """After every plan, standbys fit beside the launches; starts need calm, memory, swap, CPU and time."""
    now, last_start = times
    made = plan(demands, spares, crowd, machine, SETTINGS, now=now, last_start=last_start)
    left = Counter(spare.key for spare in spares if spare.session_id not in made.end)
    after = left + Counter([made.start] if made.start else [])
    reserved = {demand.key: demand.reserved for demand in demands}
    assert set(made.end) <= {spare.session_id for spare in spares}
    assert after.total() <= crowd.room
    assert sum(made.wanted.values()) <= crowd.room
    popular = sum(max(0, count - reserved.get(key, 0)) for key, count in made.wanted.items())
    assert popular <= SETTINGS.share * crowd.places
    assert popular * COST <= SETTINGS.share * machine.memory
    assert all(count <= max(reserved[key], SETTINGS.per_image) for key, count in made.wanted.items())
    assert all(after[key] <= made.wanted.get(key, 0) for key in after)
    if made.start:
        assert now - last_start >= SETTINGS.every
        assert not crowd.starting
        assert not crowd.waiting
        assert machine.cpu <= SETTINGS.cpu
        assert machine.memory_free - COST >= SETTINGS.floor * machine.memory
        assert machine.swap_free >= SETTINGS.floor * machine.swap


@given(DEMANDS, SPARES, CROWDS, MACHINES, st.randoms())
def test_the_order_of_what_is_given_does_not_matter(
    demands: list[Demand], spares: list[Spare], crowd: Crowd, machine: Machine, random: object
) -> None:
    """The same facts give the same plan."""
    made = plan(demands, spares, crowd, machine, SETTINGS, now=9000)
    random.shuffle(demands)  # type: ignore[attr-defined] # hypothesis types its Random as object
    random.shuffle(spares)  # type: ignore[attr-defined] # same
    assert plan(demands, spares, crowd, machine, SETTINGS, now=9000) == made
