"""The journal of launch events: a line that was put is not lost, however the process ends."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from binderlet.events.archive_journal import HEADER, Journal

KILLED = """
import os, signal, sys
from pathlib import Path
from binderlet.events.archive_journal import Journal
journal = Journal(Path(sys.argv[1]))
for number in range(1000):
    assert journal.put(b'{"number": %d}\\n' % number)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_lines_outlive_a_killed_process(tmp_path: Path) -> None:
    """What was put right before ``kill -9`` is there for the next process, whole and in order."""
    done = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path / "journal")], check=False)
    assert done.returncode == -signal.SIGKILL
    journal = Journal(tmp_path / "journal")
    assert journal.lines() == [b'{"number": %d}\n' % number for number in range(1000)]
    journal.clear()
    journal.close()
    journal = Journal(tmp_path / "journal")
    assert journal.lines() == []
    journal.close()


def test_a_full_journal_says_so(tmp_path: Path) -> None:
    """A line that does not fit is not taken, and those before it stay."""
    journal = Journal(tmp_path / "new" / "journal", size=HEADER + 8)
    assert journal.put(b"12345\n")
    assert not journal.put(b"678\n")
    assert journal.put(b"9\n")
    assert journal.lines() == [b"12345\n", b"9\n"]
    journal.close()


@pytest.mark.parametrize("found", [b"garbage that is no journal", b"blevent1" + b"\xff" * 8], ids=["other", "length"])
def test_another_file_is_no_journal(tmp_path: Path, found: bytes) -> None:
    """A damaged journal is begun anew instead of read."""
    path = tmp_path / "journal"
    path.write_bytes(found)
    journal = Journal(path)
    assert journal.lines() == []
    journal.close()


def test_a_place_that_cannot_be_written(tmp_path: Path) -> None:
    """No journal is an error of the system that the archive reports."""
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(OSError, match=r"exists|Not a directory"):
        Journal(tmp_path / "file" / "journal")
