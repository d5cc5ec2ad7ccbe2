"""The first process of a builder pod."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from binderlet.builder.cluster import keeper


@pytest.fixture
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Folders of the test's own; signals are as before afterwards."""
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    monkeypatch.setattr(keeper, "FOLDERS", (tmp_path / "storage",))
    monkeypatch.setattr(keeper, "WORK", tmp_path / "work")
    monkeypatch.setattr(keeper, "SOCKET", tmp_path / "podman.sock")
    (tmp_path / "podman.sock").touch()
    yield tmp_path
    for number, handler in before.items():
        signal.signal(number, handler)


def test_ends_with_podman(folders: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It has the folders as Podman wants them, reaps what others left, and ends as Podman does."""
    monkeypatch.setattr(keeper, "COMMAND", ("sh", "-c", "exit 3"))
    others = iter([(0, 0)])
    assert keeper.main(lambda: next(others, None) or os.wait3(0)[:2]) == 3
    assert (folders / "storage").stat().st_mode & 0o7777 == 0o700
    assert (folders / "work").stat().st_mode & 0o7777 == 0o711
    assert not (folders / "podman.sock").exists()


def test_ends_podman_when_asked(folders: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A pod that is deleted ends Podman; one that ended already is no error."""
    monkeypatch.setattr(keeper, "COMMAND", ("sleep", "600"))
    ended: list[tuple[int, int]] = []

    def wait() -> tuple[int, int]:
        os.kill(os.getpid(), signal.SIGTERM)
        ended.append(os.wait3(0)[:2])
        os.kill(os.getpid(), signal.SIGTERM)
        return ended[0]

    assert keeper.main(wait) == 0
    assert os.waitstatus_to_exitcode(ended[0][1]) == -signal.SIGTERM
    assert folders.exists()
