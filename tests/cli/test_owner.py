"""Root at the command line of a service that is another user's."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from binderlet.cli.owner import hand_over, owner_of

NOBODY = 65534
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can be somebody else")


@pytest.fixture
def theirs(tmp_path: Path) -> Path:
    """A folder of somebody else."""
    for part in tmp_path.parents[:3]:
        if part.stat().st_uid == os.geteuid():
            part.chmod(part.stat().st_mode | 0o011)
    folder = tmp_path / "state"
    folder.mkdir()
    if os.geteuid() == 0:
        os.chown(folder, NOBODY, NOBODY)
    tmp_path.chmod(0o711)
    return folder


@needs_root
def test_what_is_written_is_theirs(theirs: Path) -> None:
    """Files of this process and of its programs belong to the folder's owner; then we are root again."""
    with owner_of(theirs):
        (theirs / "mine").touch()
        subprocess.run(["touch", str(theirs / "programs")], check=True)
    assert [path.stat().st_uid for path in theirs.iterdir()] == [NOBODY, NOBODY]
    assert os.geteuid() == 0


@needs_root
def test_what_root_wrote_is_handed_over(theirs: Path) -> None:
    """All of it, in folders too; a link is not followed."""
    (theirs / "folder").mkdir()
    (theirs / "folder" / "file").touch()
    (theirs / "link").symlink_to("/etc/hostname")
    hand_over(theirs)
    assert {path.lstat().st_uid for path in theirs.rglob("*")} == {NOBODY}
    assert Path("/etc/hostname").stat().st_uid == 0


def test_others_are_who_they_are(theirs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who is not root changes nothing; nor does root where there is no folder."""
    with owner_of(theirs / "none"):
        pass
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with owner_of(theirs):
        pass
    hand_over(theirs)
