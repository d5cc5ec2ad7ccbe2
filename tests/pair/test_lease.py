"""Who leads: as dialogues between candidates and one Lease, with clocks that differ."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from binderlet.errors import EngineUnavailable
from binderlet.pair.lease import ADDRESS, WAITS, Candidate, body, given_back, lease_of


@dataclass
class Cluster:
    """What keeps the Lease: a write is taken only by whoever read the last version."""

    item: dict[str, Any] | None = None
    version: int = 0
    leaders: list[Candidate] = field(default_factory=list)

    def write(self, wanted: dict[str, Any]) -> bool:
        """Take a write, or refuse it."""
        known = wanted["metadata"].get("resourceVersion")
        if known != (str(self.version) if self.item else None):
            return False
        self.version += 1
        self.item = {**wanted, "metadata": {**wanted["metadata"], "resourceVersion": str(self.version)}}
        return True


def candidate(name: str = "a") -> Candidate:
    """Give a candidate for a Lease of ten seconds."""
    return Candidate(name, f"{name}:1", 10.0)


def look(one: Candidate, cluster: Cluster, now: float, *, heard: bool = True) -> None:
    """Let a candidate look, and write where it may; ``heard`` says whether the answer to the write comes back."""
    if not one.leads(now):
        one.saw(lease_of(cluster.item) if cluster.item else None, now)
    if one.may_write(now) and cluster.write(body("l", one, now, "stamp")) and heard:
        assert cluster.item is not None
        one.wrote(lease_of(cluster.item), now)


def led_by(one: Candidate, cluster: Cluster, now: float = 0.0) -> None:
    """Have it lead."""
    cluster.write({"metadata": {}, "spec": {}})
    look(one, cluster, now)
    assert one.leads(now)


def test_who_makes_a_lease_leads_after_its_time() -> None:
    """Where there is none it may have been deleted under a leader: whoever makes it has it, keeps it, and waits."""
    one, other, cluster = candidate(), candidate("b"), Cluster()
    for now in (0.0, 4.0, 8.0):
        look(one, cluster, now)
        look(other, cluster, now)
        assert (one.leads(now), other.leads(now)) == (False, False)
    assert cluster.item is not None
    assert cluster.item["metadata"]["annotations"] == {ADDRESS: "a:1", WAITS: "yes"}
    look(one, cluster, 10.0)
    assert one.leads(10.0)
    assert cluster.item["metadata"]["annotations"] == {ADDRESS: "a:1"}


def test_who_begins_anew_while_it_waits_waits_anew() -> None:
    """A new process of the one that made the Lease does not lead sooner than the old one would have."""
    cluster = Cluster()
    look(candidate(), cluster, 0.0)
    again = candidate()
    for now in (1.0, 6.0, 10.9):
        look(again, cluster, now)
        assert not again.leads(now)
    look(again, cluster, 11.0)
    assert again.leads(11.0)


def test_an_empty_lease_is_taken_at_once() -> None:
    """One that nobody holds, as when it was given back, needs no waiting; what others wrote on it stays."""
    one = candidate()
    cluster = Cluster({"metadata": {"resourceVersion": "7", "labels": {"x": "y"}}, "spec": {}}, 7)
    look(one, cluster, 0.0)
    assert one.leads(0.0)
    assert one.before == ""
    assert cluster.item is not None
    assert cluster.item["metadata"]["labels"] == {"x": "y"}


def test_the_other_waits_while_it_is_renewed() -> None:
    """While the one that leads renews, the other does not lead, and knows where the leader is."""
    one, other, cluster = candidate(), candidate("b"), Cluster()
    led_by(one, cluster)
    for now in range(1, 40, 2):
        look(one, cluster, now)
        look(other, cluster, now + 1)
        assert (one.leads(now + 1), other.leads(now + 1), other.leader, one.leader) == (True, False, "a:1", "")


def test_a_silent_leader_is_followed_by_another() -> None:
    """When it renews no more, it stops by its own clock; only later does the other lead."""
    one, other, cluster = candidate(), candidate("b"), Cluster()
    led_by(one, cluster)
    look(other, cluster, 1.0)
    assert one.leads(6.6)
    assert not one.leads(6.7)
    look(other, cluster, 10.9)
    assert not other.leads(10.9)
    look(other, cluster, 11.0)
    assert other.leads(11.0)
    assert other.before == "a"
    assert cluster.item is not None
    assert cluster.item["spec"]["leaseTransitions"] == 2


def test_given_back() -> None:
    """One that gives the Lease back leads no more, and never again; another takes it at its next look."""
    one, other, cluster = candidate(), candidate("b"), Cluster()
    led_by(one, cluster)
    wanted = given_back(one)
    one.leave()
    assert not one.leads(0.1)
    assert cluster.write(wanted)
    look(one, cluster, 0.2)
    look(other, cluster, 0.3)
    assert (one.leads(0.4), other.leads(0.4)) == (False, True)


def test_the_same_one_begins_anew() -> None:
    """A leader whose process was replaced goes on at once: there are never two of one name."""
    cluster = Cluster()
    led_by(candidate(), cluster)
    again = candidate()
    look(again, cluster, 1.0)
    assert again.leads(1.0)
    assert again.before == "a"


def test_of_two_writes_one_counts() -> None:
    """Who wrote on what it read too long ago is refused, and sees who was faster."""
    one, other, cluster = candidate(), candidate("b"), Cluster()
    for each in (one, other):
        each.saw(None, 0.0)
    assert cluster.write(body("l", one, 0.0, "s"))
    assert not cluster.write(body("l", other, 0.0, "s"))


def test_a_write_whose_answer_was_lost() -> None:
    """Who does not know that its write arrived does not lead; at its next look it finds itself there, and goes on."""
    one, cluster = candidate("b"), Cluster()
    led_by(candidate("a"), cluster)
    look(one, cluster, 1.0)
    look(one, cluster, 11.0, heard=False)
    assert not one.leads(11.0)
    look(one, cluster, 12.0)
    assert one.leads(12.0)
    assert one.before == "a"


def test_an_overthrown_leader_sees_it() -> None:
    """A leader that reads another's name on the Lease leads no more, whatever its clock says."""
    one, cluster = candidate(), Cluster()
    led_by(one, cluster)
    one.saw(lease_of({"metadata": {"resourceVersion": "99"}, "spec": {"holderIdentity": "b"}}), 1.0)
    assert not one.leads(1.0)
    with pytest.raises(EngineUnavailable, match="does not lead"):
        one.check(1.0)


def test_who_leads_is_let_through() -> None:
    """The guard of changes says nothing to the leader."""
    one, cluster = candidate(), Cluster()
    led_by(one, cluster)
    one.check(1.0)


@settings(max_examples=300, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.integers(0, 2),  # who looks
            st.floats(0.0, 4.0),  # how much later
            st.booleans(),  # whether the answer to its write comes back
            st.sampled_from(["", "", "", "", "deleted", "resigns", "restarts"]),
        ),
        max_size=80,
    ),
    st.lists(st.floats(-1e6, 1e6), min_size=3, max_size=3),
)
def test_there_are_never_two(steps: list[tuple[int, float, bool, str]], clocks: list[float]) -> None:
    """Whatever is lost, whoever looks when, however wrong the clocks: at no moment do two lead."""
    cluster, now = Cluster(), 0.0
    all_of_them = [candidate(name) for name in "abc"]
    for which, later, heard, event in steps:
        now += later
        if event == "deleted":
            cluster.item = None
        if event == "restarts":
            all_of_them[which] = candidate(all_of_them[which].name)
        one = all_of_them[which]
        if event == "resigns" and one.leads(now + clocks[which]):
            wanted = given_back(one)
            one.leave()
            cluster.write(wanted)
        look(one, cluster, now + clocks[which], heard=heard)
        leading = [each.name for each, clock in zip(all_of_them, clocks, strict=True) if each.leads(now + clock)]
        assert len(leading) <= 1
