"""What builds leave on the disk, and what is read of it again."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from binderlet.errors import BadRepository, BinderletError, BuildFailed
from binderlet.launch.stored_builds import open_log, read_events, read_stored, write_result
from binderlet.model import Phase
from support.values import COMMIT


def leave(folder: Path, error: BinderletError | None, at: float = 100.0, *, is_refresh: bool = False) -> None:
    """Leave a build that has ended."""
    open_log(folder, COMMIT, f"image:{folder.name}", 1000, is_refresh=is_refresh).write("a line")
    write_result(folder, error, at)


def test_failures_come_back(tmp_path: Path) -> None:
    """A failure has its kind, words and hint again; old ones, successes and refreshes count for nothing."""
    leave(tmp_path / "bad", BadRepository("apt.txt is wrong.", hint="Mend it."))
    leave(tmp_path / "old", BuildFailed("No."), at=1.0)
    leave(tmp_path / "good", None)
    leave(tmp_path / "refresh", BuildFailed("No."), is_refresh=True)
    stored = read_stored(tmp_path, since=50.0)
    (failure,) = stored.failures
    assert (failure.commit, failure.image, failure.at) == (COMMIT, "image:bad", 100.0)
    assert (type(failure.error), str(failure.error), failure.error.hint) == (
        BadRepository,
        "apt.txt is wrong.",
        "Mend it.",
    )
    assert stored.logs == {"bad", "old", "good", "refresh"}
    assert stored.unfinished == ()


def test_unfinished(tmp_path: Path) -> None:
    """A build without a result is to be taken up; one that only renewed an image is not."""
    open_log(tmp_path / "a", COMMIT, "image:a", 1000)
    open_log(tmp_path / "b", COMMIT, "image:b", 1000, is_refresh=True)
    assert read_stored(tmp_path, 0).unfinished == ((COMMIT, "image:a"),)


@pytest.mark.parametrize("text", ['{"commit":', "{}", '{"commit": {"sha": 1}, "image": ""}', "[]"])
def test_damaged(tmp_path: Path, text: str) -> None:
    """What cannot be read is left alone, with a warning."""
    (tmp_path / "x").mkdir()
    (tmp_path / "x" / "request.json").write_text(text)
    with capture_logs() as logs:
        assert read_stored(tmp_path, 0).unfinished == ()
    assert len(logs) == 1


def test_result_of_an_older_version(tmp_path: Path) -> None:
    """A failure without words cannot be told again."""
    leave(tmp_path / "a", None)
    (tmp_path / "a" / "result.json").write_text(json.dumps({"ok": False, "code": "build_failed", "at": 100.0}))
    assert read_stored(tmp_path, 0).failures == ()


def test_logs(tmp_path: Path) -> None:
    """An ended build's log makes place for a new one; one that was cut off is gone on with."""
    log = open_log(tmp_path / "a", COMMIT, "image:a", 1000)
    log.write("one", Phase.BUILDING)
    open_log(tmp_path / "a", COMMIT, "image:a", 1000).write("two")
    assert [event.message for event in read_events(tmp_path / "a" / "log")] == ["one\n", "two\n"]
    write_result(tmp_path / "a", None, 1.0)
    open_log(tmp_path / "a", COMMIT, "image:a", 1000).write("three")
    assert [event.message for event in read_events(tmp_path / "a" / "log")] == ["three\n"]
    assert list(read_events(tmp_path / "none")) == []
