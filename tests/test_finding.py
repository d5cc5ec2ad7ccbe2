"""What was checked."""

from __future__ import annotations

from binderlet.finding import Finding


def test_it_is_written_as_json_has_it() -> None:
    """Every part is there, an empty mend too."""
    assert Finding("disk", "ok", "7.5G free").as_dict() == {
        "check": "disk",
        "level": "ok",
        "seen": "7.5G free",
        "mend": "",
    }
