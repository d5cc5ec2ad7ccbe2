"""What is remembered of launches and reservations."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from binderlet.config.schema import StandbySettings
from binderlet.model import RepoSpec
from binderlet.sessions import demand as module
from binderlet.sessions.demand import Demands
from binderlet.sessions.order import SessionOrder
from binderlet.sessions.standby import WORTH, Demand
from support.values import COMMIT, IMAGE, SPEC

HOST = "http://binder.test/"
ORDER = SessionOrder("launch-1", SPEC, COMMIT, IMAGE.name, HOST, "192.0.2.1", IMAGE.id)
PLAIN = replace(ORDER, launch_id="", client="")
OTHER = RepoSpec("gh", "owner/second/HEAD")
SETTINGS = StandbySettings(half_life=100, lead=50, every=0)


def key_of(order: SessionOrder) -> str:
    """Give a readable key."""
    return f"{order.spec.spec} {order.image_id} {order.host}"


KEY = key_of(ORDER)


@pytest.fixture
def demands() -> Demands:
    """Nothing was launched yet."""
    return Demands(SETTINGS, key_of)


def test_launches_add_up_and_fade(demands: Demands) -> None:
    """Each counts half after the half-life; who asked is not kept."""
    demands.note(ORDER, 0)
    demands.note(ORDER, 100)
    assert demands.current(100) == ([Demand(KEY, 1.5)], {KEY: PLAIN})
    assert demands.current(200)[0] == [Demand(KEY, 0.75)]
    assert demands.current(100_000) == ([], {})
    assert demands.current(100) == ([], {}), "what was forgotten does not come back"


def test_a_new_image_takes_over_the_popularity(demands: Demands) -> None:
    """The newest launch says what the next one will have; hosts are counted apart."""
    demands.note(ORDER, 0)
    demands.note(replace(ORDER, image_id="sha256:2"), 0)
    demands.note(replace(ORDER, host="http://other.test/"), 0)
    found, orders = demands.current(0)
    assert {demand.key.split(" ", 1)[1]: demand.score for demand in found} == {
        f"sha256:2 {HOST}": 2,
        f"{IMAGE.id} http://other.test/": 1,
    }
    assert len(orders) == 2


def test_what_is_launched_every_morning_waits_the_next(demands: Demands) -> None:
    """From the third day on one standby is wanted shortly before the hour; a restart does not forget the habit."""
    day, nine = 86400.0, 9 * 3600.0
    for number in range(2):
        demands.note(ORDER, number * day + nine)
        assert demands.current(number * day + nine + 7200)[0] == [], "between the mornings nothing is wanted"
    again = Demands(SETTINGS, key_of)
    again.load(json.loads(json.dumps(demands.as_json())))
    for one in (demands, again):
        assert one.current(2 * day + nine - 3600) == ([], {})
        assert one.current(2 * day + nine - SETTINGS.lead) == ([Demand(KEY, WORTH)], {KEY: PLAIN})
        assert one.current(2 * day + nine + 3600) == ([], {})


def test_an_image_that_was_made_again(demands: Demands) -> None:
    """Its popularity and its reservations go on with the new one; others are left alone."""
    demands.note(ORDER, 0)
    demands.note(replace(ORDER, spec=OTHER), 0)
    made = demands.reserve(SPEC, HOST, 5, 0, 100)
    other = demands.reserve(OTHER, HOST, 5, 0, 100)
    demands.prepared(made.id, ORDER)
    demands.prepared(other.id, replace(ORDER, spec=OTHER))
    assert demands.reserved_images() == {IMAGE.name}
    demands.renew(KEY, "sha256:2")
    found, orders = demands.current(0)
    renewed, kept = key_of(replace(ORDER, image_id="sha256:2")), key_of(replace(ORDER, spec=OTHER))
    assert {demand.key: (demand.score, demand.reserved) for demand in found} == {renewed: (1, 5), kept: (1, 5)}
    assert (orders[renewed].image_id, orders[kept].image_id) == ("sha256:2", IMAGE.id)


def test_only_so_many_are_remembered(demands: Demands, monkeypatch: pytest.MonkeyPatch) -> None:
    """The most popular stay."""
    monkeypatch.setattr(module, "LARGEST", 1)
    demands.note(ORDER, 0)
    demands.note(replace(ORDER, spec=OTHER), 0)
    demands.note(replace(ORDER, spec=OTHER), 0)
    assert [demand.score for demand in demands.current(0)[0]] == [2]


def test_what_does_not_start_is_forgotten_until_its_next_launch(demands: Demands) -> None:
    """A reservation says why it has nothing."""
    made = demands.reserve(SPEC, HOST, 5, 0, 100)
    other = demands.reserve(OTHER, HOST, 5, 0, 100)
    demands.prepared(made.id, ORDER)
    demands.prepared(other.id, replace(ORDER, spec=OTHER))
    demands.note(replace(ORDER, spec=RepoSpec("gh", "o/third/HEAD")), 0)
    demands.note(ORDER, 0)
    demands.forget(KEY, "It died.")
    assert KEY not in demands.current(0)[1]
    assert {one.spec: one.problem for one in demands.reservations} == {SPEC: "It died.", OTHER: ""}
    demands.note(ORDER, 0)
    assert KEY in demands.current(0)[1]


def test_a_reservation_is_wanted_until_its_launches_have_come(demands: Demands) -> None:
    """It adds to its image's popularity, counts its launches, and is gone at its end."""
    made = demands.reserve(SPEC, HOST, 3, 100, 200)
    assert demands.current(0) == ([], {})
    demands.prepared(made.id, ORDER)
    assert demands.current(0)[0] == [Demand(KEY, reserved=0)], "it is not open yet"
    assert demands.current(60) == ([Demand(KEY, reserved=3)], {KEY: PLAIN})
    assert demands.ready_for(made, {KEY: 2}) == 2
    demands.note(ORDER, 60)
    demands.note(replace(ORDER, spec=OTHER), 60)
    found = {demand.key: (demand.score, demand.reserved) for demand in demands.current(60)[0]}
    assert found[KEY] == (1, 2)
    assert demands.reservations[0].launched == 1
    assert demands.current(200)[0] != []
    assert demands.reservations == []


def test_a_reservation_follows_the_newest_commit(demands: Demands) -> None:
    """A launch during the event says what the next one will have."""
    made = demands.reserve(SPEC, "", 3, 0, 100)
    demands.prepared(made.id, ORDER)
    newer = replace(ORDER, image_id="sha256:2", host="http://visitors.test/")
    demands.note(newer, 10)
    assert [demand.reserved for demand in demands.current(10)[0] if demand.key == key_of(newer)] == [2]


def test_a_reservations_host_is_guessed_from_the_last_launch(demands: Demands) -> None:
    """Unless it is known."""
    unknown = demands.reserve(SPEC, "", 3, 0, 100)
    assert demands.host_of(unknown) == ""
    demands.note(replace(ORDER, host="http://first.test/"), 1)
    demands.note(ORDER, 2)
    assert demands.host_of(unknown) == HOST
    assert demands.host_of(demands.reserve(SPEC, "http://known.test/", 3, 0, 100)) == "http://known.test/"


def test_cancelled_reservations_are_gone(demands: Demands) -> None:
    """What comes for them later changes nothing."""
    made = demands.reserve(SPEC, HOST, 3, 0, 100)
    assert demands.ready_for(made, {KEY: 2}) == 0, "it is not prepared"
    assert demands.cancel(made.id)
    assert not demands.cancel(made.id)
    demands.prepared(made.id, ORDER)
    demands.fail(made.id, "late")
    assert demands.current(0) == ([], {})


def test_everything_comes_back_from_a_file(demands: Demands) -> None:
    """As JSON, to another process; images of reservations are looked up again."""
    demands.note(ORDER, 5)
    made = demands.reserve(SPEC, HOST, 3, 0, 100)
    demands.note(ORDER, 10)
    kept = json.loads(json.dumps(demands.as_json()))
    again = Demands(SETTINGS, key_of)
    again.load(kept)
    assert again.current(10)[1] == {KEY: PLAIN}
    assert again.reservations == [replace(made, launched=1)]
    newer = {**kept, "reservations": [{**each, "added": "by a newer program"} for each in kept["reservations"]]}
    beside = Demands(SETTINGS, key_of)
    beside.load(newer)
    assert beside.reservations == again.reservations
    off = Demands(SETTINGS.model_copy(update={"enabled": False}), key_of)
    off.load(kept)
    off.note(ORDER, 10)
    assert [demand.score for demand in off.current(10)[0]] == [0], "popularity does not count where it is switched off"
    assert off.reservations == [replace(made, launched=2)]
    with pytest.raises((KeyError, TypeError)):
        off.load({"host": "", "popular": [], "reservations": [{"spec": {}}]})
