"""Admission."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from binderlet.errors import Banned, Full, RepositoryFull
from binderlet.launch.admission import Admission, Position, check_banned
from binderlet.model import RepoSpec


def test_places_are_given_until_none_is_left() -> None:
    """Launches get places at once while there are any, and then wait in order."""
    admission = Admission(places=2)
    assert [admission.request(launch, "r", "o") for launch in "abcd"] == [True, True, False, False]
    assert admission.positions() == [Position("c", 1), Position("d", 2)]
    assert (admission.taken, admission.waiting) == (2, 2)
    assert admission.release("a") == ["c"]
    assert list(admission.holders()) == ["b", "c"]


def test_one_repository_does_not_take_all() -> None:
    """A repository at its limit waits while others are admitted past it."""
    admission = Admission(places=3, per_repository=1)
    assert admission.request("a1", "a", "o")
    assert not admission.request("a2", "a", "o")
    assert admission.request("b1", "b", "o")
    assert admission.release("b1") == []
    assert admission.release("a1") == ["a2"]


def test_a_full_queue_refuses() -> None:
    """With the queue full, launches are refused with a reason and a time."""
    admission = Admission(places=1, queue=1)
    admission.request("a", "r", "o")
    admission.request("b", "r", "o")
    with pytest.raises(Full, match="Too many users") as refusal:
        admission.request("c", "r", "o")
    assert refusal.value.retry_after


def test_a_full_queue_of_one_repository_says_so() -> None:
    """When only the repository's own share is used up, the refusal names the repository."""
    admission = Admission(places=9, per_repository=1, queue=0)
    admission.request("a", "r", "o")
    with pytest.raises(RepositoryFull, match="running r"):
        admission.request("b", "r", "o")


def test_no_places_means_maintenance() -> None:
    """A service without places refuses at once instead of queueing."""
    with pytest.raises(Full, match="no new sessions"):
        Admission(places=0).request("a", "r", "o")


def test_leaving_the_queue_and_unknown_launches() -> None:
    """A launch that leaves the queue is not admitted later; releasing twice does nothing."""
    admission = Admission(places=1)
    admission.request("a", "r", "o")
    admission.request("b", "r", "o")
    assert admission.release("b") == []
    assert admission.release("a") == []
    assert admission.release("a") == []
    assert admission.taken == 0


def test_found_sessions_count() -> None:
    """Sessions found after a restart hold their places, even beyond the limit."""
    admission = Admission(places=1)
    admission.adopt({"a": "r", "b": "r"})
    assert not admission.request("c", "r", "o")
    assert admission.release("a") == []
    assert admission.release("b") == ["c"]


@given(st.lists(st.tuples(st.sampled_from(["take", "give"]), st.integers(0, 9)), max_size=60))
def test_limits_are_never_passed(script: list[tuple[str, int]]) -> None:
    """Whatever is asked for and given back, no limit is passed and no place stays free while one could go."""
    admission = Admission(places=3, per_repository=2, queue=100)
    known: set[str] = set()
    for verb, number in script:
        launch, repo = str(number), f"r{number % 2}"
        if verb == "give":
            admission.release(launch)
            known.discard(launch)
        elif launch not in known:
            admission.request(launch, repo, f"o{number % 3}")
            known.add(launch)
        holders = [f"r{int(holder) % 2}" for holder in admission.holders()]
        assert len(holders) <= 3
        assert all(holders.count(repo) <= 2 for repo in holders)
        assert admission.taken + admission.waiting == len(known)
        free = [p for p in admission.positions() if len(holders) < 3 and holders.count(f"r{int(p.launch_id) % 2}") < 2]
        assert not free


def test_banned_specs() -> None:
    """A banned repository is refused whatever its case; others are not."""
    check_banned(RepoSpec("gh", "good/repo/HEAD"), ["gh/bad/"])
    with pytest.raises(Banned, match="gh/Bad/repo/HEAD is not allowed"):
        check_banned(RepoSpec("gh", "Bad/repo/HEAD"), ["gh/bad/"])


def test_what_memory_allows_counts_beside_the_places() -> None:
    """So many are admitted until it is said again; those who waited are let in then."""
    admission = Admission(places=10, queue=2)
    assert admission.allow(1) == []
    assert admission.request("a", "r", "o")
    assert not admission.request("b", "r", "o")
    assert not admission.request("c", "r", "o")
    with pytest.raises(Full, match="Too many users on this service"):
        admission.request("d", "r", "o")
    assert admission.release("a") == []
    assert admission.allow(0) == []
    assert admission.allow(1) == ["b"]
    assert admission.allow(None) == ["c"]
    assert admission.request("e", "r", "o")
