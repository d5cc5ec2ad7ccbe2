"""Counting the lines of archives."""

from __future__ import annotations

import json
from collections import Counter
from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from binderlet.dashboard import reading
from binderlet.dashboard.reading import Reader, minute_of
from binderlet.dashboard.tallies import NO_MEMBER, repository_of
from support.archives import event_line

DAY = date(2024, 5, 6).toordinal()


def test_a_day_is_counted() -> None:
    """Launches are counted by member, minute and repository; failures by member alone."""
    lines = [
        event_line(),
        event_line(),
        event_line(spec="owner/repo/main"),
        event_line("2024-05-06T23:59:00+00:00", spec="owner/other/HEAD"),
        event_line(origin="two.test"),
        event_line(status="failure"),
    ]
    found = Reader().read(lines)
    one = found[DAY, "one.test"]
    assert (one.launches, one.failures) == (4, 1)
    assert one.minutes == {7 * 60 + 8: 3, 1439: 1}
    assert one.repositories == {"GitHub/owner/repo": 3, "GitHub/owner/other": 1}
    assert found[DAY, "two.test"].launches == 1


def test_old_versions_name_no_member() -> None:
    """The first events had no origin: all were of one service, whose name may be given."""
    line = b'{"timestamp": "2018-11-05T00:00:00+00:00", "version": 1, "provider": "GitHub", "spec": "a/b/master"}\n'
    assert [member for _, member in Reader().read([line])] == [NO_MEMBER]
    assert [member for _, member in Reader("gke.test").read([line])] == ["gke.test"]


@pytest.mark.parametrize(
    "timestamp",
    ["2024-05-06T09:08:31.5+02:00", "2024-05-06T07:08:59.000001Z", "2024-05-06 07:08:00", "2024-05-06T07:08:00Z"],
)
def test_times_written_otherwise(timestamp: str) -> None:
    """Every ISO time counts as its minute in UTC, again and again."""
    found = Reader().read([event_line(timestamp), event_line(timestamp)])
    assert found[DAY, "one.test"].minutes == {7 * 60 + 8: 2}
    assert minute_of(timestamp) == b"2024-05-06T07:08"


def test_keys_in_any_order_and_form() -> None:
    """An archive that sorts its keys, or writes them without spaces, is read as well."""
    event = json.loads(event_line())
    lines = [json.dumps(event, sort_keys=True).encode(), json.dumps(event, separators=(",", ":")).encode()]
    assert Reader().read(lines)[DAY, "one.test"].launches == 2


@pytest.mark.parametrize(
    "line",
    [
        b"no JSON\n",
        b"[1]\n",
        b"[" * 100_000,
        b'{"timestamp": 5, "provider": "GitHub", "spec": "a/b/c"}\n',
        b'{"timestamp": "yesterday", "provider": "GitHub", "spec": "a/b/c"}\n',
        b'{"timestamp": "2024-05-06T07:08:00+00:00", "schema": "other"}\n',
        event_line("2024-02-31T07:08:00+00:00"),
    ],
    ids=["text", "list", "deep", "number", "word", "other schema", "no such day"],
)
def test_what_is_no_launch_is_skipped_and_counted(line: bytes) -> None:
    """Lines that are not understood do not end an import; how many there were is told."""
    reader = Reader()
    found = reader.read([event_line(), line, event_line()])
    assert found[DAY, "one.test"].launches == 2
    assert reader.skipped == 1


def test_a_known_kind_at_a_time_that_is_none() -> None:
    """A damaged time in an otherwise known line is skipped, or counts without its minute."""
    reader = Reader()
    bad_day = event_line().replace(b"2024-05-06", b"2024-99-06")
    bad_minute = event_line().replace(b"T07:08", b"Txx:08")
    found = reader.read([event_line(), bad_day, event_line(), bad_minute])
    assert reader.skipped == 1
    assert found[DAY, "one.test"].launches == 3
    assert found[DAY, "one.test"].minutes == {7 * 60 + 8: 2}


def test_empty_lines_are_nothing() -> None:
    """A line end at the end of a file is no launch, and nothing wrong."""
    reader = Reader()
    assert reader.read([b"\n", b""]) == {}
    assert reader.skipped == 0


def test_memory_stays_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is remembered is forgotten when it is much, and counts stay right over batches."""
    monkeypatch.setattr(reading, "REMEMBERED", 10)
    monkeypatch.setattr(reading, "BATCH", 7)
    reader = Reader()
    for _ in range(2):
        found = reader.read([event_line(spec=f"o/r{number}/HEAD") for number in range(50)])
        assert found[DAY, "one.test"].launches == 50
        assert len(found[DAY, "one.test"].repositories) == 50
    assert not reader._known


EVENTS = st.lists(
    st.tuples(
        st.integers(0, 3),
        st.integers(0, 1439),
        st.sampled_from(["a/b/HEAD", "a/b/main", "c/d/HEAD"]),
        st.sampled_from(["one", "two"]),
        st.booleans(),
    ),
    max_size=60,
)


@given(EVENTS)
def test_counts_are_those_of_a_plain_count(events: list[tuple[int, int, str, str, bool]]) -> None:
    """Whatever comes, in whatever order, the quick count is that of the obvious one."""
    lines = []
    minutes: Counter[tuple[int, str, int]] = Counter()
    repositories: Counter[tuple[int, str, str]] = Counter()
    for day, minute, spec, member, is_plain in events:
        stamp = f"{date(2024, 5, 6) + timedelta(day)}T{minute // 60:02}:{minute % 60:02}:00"
        lines.append(event_line(stamp + ("+00:00" if is_plain else ".123Z"), spec, origin=member))
        minutes[DAY + day, member, minute] += 1
        repositories[DAY + day, member, repository_of("GitHub", spec)] += 1
    found = Reader().read(lines)
    assert {(*key, minute): n for key, tally in found.items() for minute, n in tally.minutes.items()} == minutes
    assert {(*key, repo): n for key, tally in found.items() for repo, n in tally.repositories.items()} == repositories
    assert sum(tally.launches for tally in found.values()) == len(events)
