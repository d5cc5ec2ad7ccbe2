"""What the history tells of images."""

from __future__ import annotations

from pathlib import Path

import pytest

from binderlet.errors import StoreUnavailable
from binderlet.events.kinds import BuildEnded, SessionStarted
from binderlet.events.store import History
from binderlet.events.usage import DAY, image_uses
from binderlet.model import Commit, Session, SessionState

COMMIT = Commit("gh", "0" * 40, "clone", "https://github.com/o/r", "ref", "spec", "slug", "github.com/o")


def session(number: int, image: str, at: float) -> SessionStarted:
    """A session that was started."""
    made = Session(f"s{number}", "t", image, "l", "gh", "o/r/HEAD", "https://github.com/o/r", at, SessionState.RUNNING)
    return SessionStarted(made, at + 1)


async def test_launches_and_builds_of_images(tmp_path: Path) -> None:
    """Launches are counted by day, the slowest successful build is the cost; both are there after a restart."""
    history = History(tmp_path / "history.sqlite")
    days = [3 * DAY + 60.0, 3 * DAY + 90.0, 5 * DAY + 30.0]
    for number, at in enumerate(days):
        history.listen(session(number, "a:1", at))
    history.listen(BuildEnded("b1", COMMIT, "a:1", 100.0, 40.0, "success"))
    history.listen(BuildEnded("b2", COMMIT, "a:1", 500.0, 0.0, "failure", "build_failed", "no"))
    history.listen(BuildEnded("b3", COMMIT, "never-launched:1", 30.0, 0.0, "success"))
    await history.close()
    again = History(tmp_path / "history.sqlite")
    uses = await image_uses(again)
    await again.close()
    use = uses["a:1"]
    assert sorted(use.launches) == [(3 * DAY + 90.0, 2), (5 * DAY + 30.0, 1)]
    assert (use.count, use.last_launch, use.build_seconds) == (3, 5 * DAY + 30.0, 60.0)
    assert use.repository == "https://github.com/o/r"
    other = uses["never-launched:1"]
    assert (other.count, other.build_seconds, other.repository) == (0, 30.0, "https://github.com/o/r")


async def test_a_history_that_cannot_be_read(tmp_path: Path) -> None:
    """That nothing is known is not the same as that nothing was launched."""
    (tmp_path / "history.sqlite").mkdir()
    history = History(tmp_path / "history.sqlite")
    with pytest.raises(StoreUnavailable):
        await image_uses(history)
    await history.close()
