"""What a restart must know of adopted standbys."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from binderlet.sessions.adoptions import Adoption, AdoptionFiles
from support.values import SESSION


def test_what_is_kept_is_found_again(tmp_path: Path) -> None:
    """Another process reads the same; what is removed is gone, however often."""
    files = AdoptionFiles(tmp_path / "adopted")
    assert files.load() == {}
    files.save("one", Adoption("launch-1", 12.5))
    files.save("two", Adoption("launch-2", 13.5))
    assert AdoptionFiles(tmp_path / "adopted").load() == {
        "one": Adoption("launch-1", 12.5),
        "two": Adoption("launch-2", 13.5),
    }
    files.remove("one")
    files.remove("one")
    assert list(files.load()) == ["two"]


def test_fields_of_a_newer_program_are_left_out(tmp_path: Path) -> None:
    """An adopted session never counts as a standby again, whichever program looks: somebody has its link."""
    (tmp_path / "one.json").write_text('{"launch_id": "x", "at": 1.5, "added": true}')
    assert AdoptionFiles(tmp_path).load() == {"one": Adoption("x", 1.5)}


@pytest.mark.parametrize("text", ["", "[]", "{", '{"launch_id": "x"}', '{"other": 1}'])
def test_a_broken_file_is_left_out(tmp_path: Path, text: str) -> None:
    """It is told; its session counts as a standby."""
    (tmp_path / "one.json").write_text(text)
    with capture_logs() as logs:
        assert AdoptionFiles(tmp_path).load() == {}
    assert [entry["event"] for entry in logs] == ["an adoption cannot be read"]


def test_an_adopted_session_belongs_to_its_launch() -> None:
    """Its launch and its beginning are the adopting launch's; all else is the standby's own."""
    adopted = Adoption("launch-2", 2000.0).of(replace(SESSION, standby="key"))
    assert adopted == replace(SESSION, standby="key", launch_id="launch-2", created_at=2000.0)
