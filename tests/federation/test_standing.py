"""How a member stands, as dialogues."""

from __future__ import annotations

from binderlet.federation.config import CheckRules
from binderlet.federation.report import Report, Room, unreachable
from binderlet.federation.standing import Phase, Standing, advance, next_probe

RULES = CheckRules(period=15, confirm=1, retries=3, failed_period=90, rise=2)
GOOD, BAD = Report(versions={"a": 1}), unreachable("refused")


def story(reports: list[Report], begin: Standing | None = None) -> list[Standing]:
    """The standings after each report, a second apart."""
    found = [begin or Standing()]
    for now, report in enumerate(reports, 1):
        found.append(advance(found[-1], report, float(now), RULES))
    return found[1:]


def phases(reports: list[Report]) -> list[Phase]:
    """The phases after each report."""
    return [standing.phase for standing in story(reports)]


def test_from_the_beginning() -> None:
    """A member that is well at the first look is up at once, without slow start; one that is not is down."""
    (up,) = story([GOOD])
    assert (up.phase, up.back_at, up.trouble, up.since) == (Phase.UP, None, "", 1)
    assert Standing().trouble == "not asked yet"
    assert phases([BAD]) == [Phase.DOWN]


def test_a_blink() -> None:
    """One bad probe takes a member out; the next good one brings it back with all its share."""
    up, suspect, again = story([GOOD, BAD, GOOD])
    assert [one.phase for one in (up, suspect, again)] == [Phase.UP, Phase.SUSPECT, Phase.UP]
    assert suspect.trouble == "refused"
    assert again.back_at is None


def test_gone_and_back() -> None:
    """After the retries it is gone; then it must show twice that it is back, and starts slowly."""
    found = story([GOOD, BAD, BAD, BAD, BAD, GOOD, GOOD, GOOD])
    assert [one.phase for one in found] == [
        *(Phase.UP, Phase.SUSPECT, Phase.SUSPECT, Phase.DOWN, Phase.DOWN, Phase.DOWN, Phase.UP, Phase.UP)
    ]
    assert found[-1].back_at == found[-1].since == 7


def test_good_ones_must_be_in_a_row() -> None:
    """A member that answers now and then stays out."""
    assert phases([GOOD, BAD, BAD, BAD, GOOD, BAD, GOOD, BAD])[3:] == [Phase.DOWN] * 5


def test_when_to_ask_again() -> None:
    """A doubtful member is asked within a second, one that is gone seldom."""
    up, suspect, _, down, returning = story([GOOD, BAD, BAD, BAD, GOOD])
    pauses = [next_probe(one, RULES) for one in (Standing(), up, suspect, down, returning)]
    assert pauses == [15, 15, 1, 90, 1]


def test_what_is_remembered() -> None:
    """What a member that does not answer said last is kept: places, versions, what its operator asked for."""
    said = Report(room=Room(9, 1), versions={"a": 1}, share=0.5, draining=True)
    _, silent = story([said, BAD])
    kept = silent.report
    assert (kept.room, kept.versions, kept.share, kept.draining) == (Room(9, 1), {"a": 1}, 0.5, True)
    _, half = story([said, Report(trouble="/versions did not answer")])
    assert half.report.versions == {"a": 1}
    assert half.report.room is None
