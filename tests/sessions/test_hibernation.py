"""Which sessions are pushed out: scripted dialogues with a clock that the test moves."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from binderlet.clients.cgroups import Usage
from binderlet.clients.memory import Machine
from binderlet.sessions.hibernation import FIRST_SPEED, MIB, Hibernation, Look, is_hibernated

GIB = 1024**3
WELL = Machine(24 * GIB, 20 * GIB, 12 * GIB, 12 * GIB)
SIZE = 120 * MIB


class Play:
    """A machine with sessions, looked at every ten seconds."""

    def __init__(self, after: float = 120.0) -> None:
        self.policy = Hibernation(after)
        self.now = 1000.0
        self.machine = WELL
        self.cpu: dict[str, float] = {}
        self.size: dict[str, int] = {}
        self.used: dict[str, float] = {}

    def session(self, name: str, size: int = SIZE, quiet: float = 0.0) -> None:
        """Add a session."""
        self.cpu[name], self.size[name], self.used[name] = 1.0, size, self.now - quiet

    def look(self, seconds: float = 10.0, share: float = 0.002) -> list[str]:
        """Let time pass, in which each session uses that share of a core, then ask."""
        self.now += seconds
        for name in self.cpu:
            self.cpu[name] += share * seconds
        looks = [
            Look(name, self.now - self.used[name], Usage(cpu, self.size[name], 0)) for name, cpu in self.cpu.items()
        ]
        return list(self.policy.decide(looks, self.machine, self.now))

    def until_chosen(self, most: int = 100) -> tuple[float, list[str]]:
        """Look until some are chosen; gives how long that took."""
        began = self.now
        for _ in range(most):
            if chosen := self.look():
                return self.now - began, chosen
        return self.now - began, []

    def sleep(self, name: str, seconds: float = 0.2, left: int = MIB) -> None:
        """Do what was decided."""
        before = Usage(self.cpu[name], self.size[name], 0)
        self.size[name] = left
        self.policy.slept(name, before, Usage(self.cpu[name], left, before.resident - left), seconds, self.now)


def test_a_quiet_session_is_pushed_out_once() -> None:
    """After the time of quiet, and not again while it stays small."""
    play = Play()
    play.session("a")
    assert play.until_chosen() == (120.0, ["a"])
    play.sleep("a")
    play.size["a"] = 12 * MIB
    assert play.until_chosen(50)[1] == []


def test_use_begins_the_time_anew() -> None:
    """A request of the visitor is use."""
    play = Play()
    play.session("a")
    for _ in range(11):
        assert play.look() == []
    play.used["a"] = play.now
    assert play.until_chosen() == (120.0, ["a"])


def test_a_computing_session_stays_with_the_tab_closed() -> None:
    """CPU time counts, and also for a while after the cell has ended."""
    play = Play()
    play.session("a", quiet=3600)
    for _ in range(30):
        assert play.look(share=0.9) == []
        assert play.policy.computing == ({"a"} if play.now > 1010 else set())
    assert play.look() == []
    assert play.look() == ["a"]
    assert play.policy.computing == set()


def test_after_a_restart_nothing_is_pushed_out_unseen() -> None:
    """A session that is seen first may compute: only the next looks tell."""
    play = Play()
    play.session("a", quiet=3600)
    assert [play.look(), play.look(0), play.look(), play.look()] == [[], [], [], ["a"]]


def test_what_comes_back_at_once_is_left_alone_longer_each_time() -> None:
    """Twice as long each time, an hour at most, and as before once it stayed out."""
    play = Play()
    play.session("a", quiet=3600)
    waits = []
    for _ in range(7):
        waited, chosen = play.until_chosen(400)
        waits.append(waited)
        assert chosen == ["a"]
        play.sleep("a")
        play.size["a"] = SIZE
    assert waits == [30, 250, 490, 970, 1930, 3610, 3610]
    play.size["a"] = MIB
    play.until_chosen(400)
    play.size["a"] = SIZE
    assert play.until_chosen(400)[1] == ["a"]
    play.sleep("a")
    assert play.until_chosen(10)[1] == []
    play.size["a"] = SIZE
    assert play.until_chosen(2)[1] == ["a"]


def test_what_the_kernel_keeps_is_not_tried_again_at_once() -> None:
    """Locked memory, or swap that is full for this one."""
    play = Play()
    play.session("a", quiet=3600)
    play.until_chosen()
    play.sleep("a", left=SIZE)
    assert play.until_chosen()[0] > 200


@pytest.mark.parametrize(
    ("machine", "why"),
    [
        (replace(WELL, swap=0, swap_free=0), "there is no swap"),
        (replace(WELL, swap_free=GIB // 2), "swap is nearly full"),
        (replace(WELL, memory_pressure=21), "everything waits for memory"),
        (replace(WELL, disk_pressure=41), "everything waits for the disk"),
    ],
)
def test_no_pushing_when_it_would_hurt(machine: Machine, why: str) -> None:
    """It waits, says why, and goes on when that is over."""
    play = Play()
    play.session("a", quiet=3600)
    play.machine = machine
    assert play.until_chosen(20)[1] == []
    assert play.policy.paused_because == why
    play.machine = WELL
    assert play.look() == ["a"]
    assert play.policy.paused_because == ""


def test_pressure_must_be_low_before_it_goes_on() -> None:
    """Between the two limits it stays as it was."""
    play = Play()
    play.session("a", quiet=3600)
    play.machine = replace(WELL, memory_pressure=19)
    assert play.until_chosen()[1] == ["a"]
    for stalled, expected in ((25, []), (19, []), (6, []), (4, ["a"])):
        play.machine = replace(WELL, memory_pressure=stalled)
        assert play.look() == expected


def test_our_own_work_is_not_what_everybody_waits_for() -> None:
    """The kernel counts a task that pushes memory out as waiting for memory."""
    play = Play()
    play.session("a", quiet=3600)
    play.session("b", quiet=3600)
    play.until_chosen()
    play.sleep("a", seconds=4.0)
    play.machine = replace(WELL, memory_pressure=40, disk_pressure=40)
    play.policy._credit = 10.0
    assert play.look(5) == ["b"]
    assert play.look(11) == []


def test_the_quietest_and_largest_come_first() -> None:
    """By the product of both."""
    play = Play()
    play.session("small", 30 * MIB, quiet=1000)
    play.session("large", 900 * MIB, quiet=1000)
    play.session("long", 120 * MIB, quiet=5000)
    play.session("tiny", 10 * MIB, quiet=9000)
    order = []
    for _ in range(10):
        for name in play.look():
            order.append(name)
            play.sleep(name)
    assert order == ["large", "long", "small"]


def test_the_work_is_rationed() -> None:
    """A quarter of the cores at the measured speed; a machine that is short of memory waits less and works more."""
    play = Play()
    for number in range(100):
        play.session(f"s{number:02}", int(FIRST_SPEED), quiet=3600)
    assert len(play.until_chosen()[1]) == 5  # twenty seconds' worth
    assert len(play.look()) == 3
    play.policy.cores = 2
    assert len(play.look()) == 5
    play.policy.cores = 64
    assert len(play.look()) == 10
    play.machine = replace(WELL, available=5 * GIB)
    assert len(play.look()) == 10
    play = Play()
    play.machine = replace(WELL, available=5 * GIB)
    play.session("new")
    assert play.until_chosen() == (30.0, ["new"])


def test_speed_is_learned() -> None:
    """What takes longer than thought is paid for, and thought of next time."""
    play = Play()
    for name in "abc":
        play.session(name, quiet=3600)
    assert len(play.until_chosen()[1]) == 3
    play.sleep("a", seconds=60.0)
    assert play.policy._credit < -40
    assert play.until_chosen()[0] > 100
    play.policy.slept("gone", Usage(0, 0, 0), Usage(0, 0, 0), 0.0, play.now)


@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        (Usage(1, MIB, 100 * MIB), True),
        (Usage(1, 100 * MIB, 900 * MIB), True),
        (Usage(1, 100 * MIB, 100 * MIB), False),
        (Usage(1, MIB, 0), False),
    ],
)
def test_what_is_hibernated(usage: Usage, expected: bool) -> None:  # noqa: FBT001 - a table
    """Mostly in swap, whoever put it there."""
    assert is_hibernated(usage) is expected


@given(st.lists(st.tuples(st.floats(0, 500), st.floats(0, 1), st.integers(0, GIB)), min_size=1, max_size=20))
def test_nothing_that_is_used_or_computes_is_ever_chosen(sessions: list[tuple[float, float, int]]) -> None:
    """Whatever the numbers."""
    policy = Hibernation(120)
    chosen: set[str] = set()
    for step in range(6):
        looks = [
            Look(str(number), quiet, Usage(share * 10 * step, size, 0))
            for number, (quiet, share, size) in enumerate(sessions)
        ]
        chosen |= set(policy.decide(looks, WELL, 1000 + 10 * step))
    assert all(sessions[int(name)][0] >= 120 and sessions[int(name)][1] <= 0.04 for name in chosen)
