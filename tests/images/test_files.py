"""Build logs, checkouts and copies of repositories, as items."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from binderlet.images.files import StateFiles, mirror_key, size_of
from binderlet.images.retention import Item, Kind
from binderlet.providers.mirrors import Mirrors

NOW = 1_700_000_000.0
DAY = 86400.0


def fill(path: Path, size: int = 5000, age: float = DAY) -> Path:
    """Make a file of a size and an age; a folder with such a file where the path has no suffix."""
    file = path if path.suffix == ".complete" else path / "file"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(b"x" * size)
    os.utime(path, (NOW - age, NOW - age))
    return path


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """A state folder with something of everything."""
    for build, has_result in (("done", True), ("going", False), ("unfinished", False)):
        fill(tmp_path / "builds" / build)
        (tmp_path / "builds" / build / "request.json").write_text("{}")
        if has_result:
            (tmp_path / "builds" / build / "result.json").write_text("{}")
        os.utime(tmp_path / "builds" / build, (NOW - DAY, NOW - DAY))
    fill(tmp_path / "checkouts" / "done")
    fill(tmp_path / "checkouts" / "unfinished")
    fill(tmp_path / "checkouts" / "lost.complete", 10)
    fill(tmp_path / "mirrors" / f"{mirror_key('https://a/b')}.git", 20 * 1024**2)
    fill(tmp_path / "mirrors" / f"{mirror_key('https://c/d')}.history.git", age=14 * DAY)
    fill(tmp_path / "mirrors" / "half.git.going")
    fill(tmp_path / "conda" / "packages", 70_000)
    (tmp_path / "history.sqlite").write_bytes(b"x" * 9000)
    return tmp_path


def look(state: Path, building: tuple[str, ...] = (), fetching: tuple[str, ...] = ()) -> dict[str, Item]:
    """Give the items by id."""
    return {item.id: item for item in StateFiles(state, clock=lambda: NOW).look(building, fetching)}


def test_everything_is_seen(state: Path) -> None:
    """Logs, checkouts and copies are items of their own; the rest is counted and stays."""
    items = look(state, ("going",))
    assert {item.kind for item in items.values()} == {Kind.LOG, Kind.CHECKOUT, Kind.MIRROR, Kind.STATE}
    rest = items["state"]
    assert rest.keep
    assert 79_000 <= rest.size < 200_000
    assert sum(item.size for item in items.values()) <= size_of(state)
    assert look(state / "nothing here")["state"].size == 0


def test_what_a_build_needs_stays(state: Path) -> None:
    """The log and the checkout of a build that waits, runs or is to be taken up again stay, and what it fetches."""
    items = look(state, ("going",), ("https://a/b",))
    kept = {item_id for item_id, item in items.items() if item.keep}
    assert kept == {
        "state",
        "log:builds/going",
        "log:builds/unfinished",
        "checkout:checkouts/unfinished",
        f"mirror:mirrors/{mirror_key('https://a/b')}.git",
    }
    junk = {item_id for item_id, item in items.items() if item.is_junk and not item.keep}
    assert junk == {
        "checkout:checkouts/done",
        "checkout:checkouts/lost.complete",
        "mirror:mirrors/half.git.going",
    }


def test_copies_cost_their_download(state: Path) -> None:
    """A copy of a repository is worth the time of fetching it again, less the longer nobody did."""
    items = look(state)
    large, small = (item for item in items.values() if item.kind is Kind.MIRROR and not item.is_junk)
    large, small = sorted((large, small), key=lambda item: -item.size)
    assert large.cost == pytest.approx(3, rel=0.01)
    assert small.cost == pytest.approx(1, rel=0.01)
    assert small.popularity == pytest.approx(0.5)


def test_keys_are_those_of_the_mirrors(tmp_path: Path) -> None:
    """A repository's copies are found under the name that they are kept by."""
    url = "https://example.org/a"
    assert Mirrors(None, tmp_path, limit=1).path(url).name == f"{mirror_key(url)}.git"  # type: ignore[arg-type]  # no git is run


def test_removing(state: Path) -> None:
    """Folders and files go whole; what is gone already, or was left half removed, counts as removed."""
    keeper = StateFiles(state, clock=lambda: NOW)
    for item in look(state).values():
        if not item.keep:
            assert keeper.remove(item)
            assert keeper.remove(item)
    left = look(state)
    assert all(item.keep for item in left.values())
    (state / "builds" / "again.going").mkdir()
    assert keeper.remove(Item("log:builds/again", Kind.LOG, "again", ()))
    assert not (state / "builds" / "again.going").exists()


def test_files_that_go_meanwhile_count_nothing(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Measuring does not fail because something is removed at the same time."""
    assert size_of(state / "nowhere") == 0

    def broken(_: object) -> None:
        raise PermissionError("no")

    with monkeypatch.context() as patch:
        patch.setattr(os, "scandir", broken)
        assert size_of(state / "builds") > 0
    (state / "mirrors" / "dangling.git").symlink_to("nowhere")
    assert look(state)["mirror:mirrors/dangling.git"].last_used == NOW
