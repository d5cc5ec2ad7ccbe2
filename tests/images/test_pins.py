"""Pins, by any name that an image has, over restarts."""

from __future__ import annotations

from pathlib import Path

import pytest

from binderlet.images.pins import Pins, normal
from binderlet.images.retention import Item, Kind

IMAGE = Item("1", Kind.IMAGE, "binderlet/i-x:1", (), owner="github.com/o", repository="https://github.com/o/r")


@pytest.mark.parametrize(
    "name", ["binderlet/i-x:1", "https://github.com/O/r.git", "github.com/o/r/", "github.com/o", "other:name"]
)
def test_an_image_is_pinned_by_any_of_its_names(tmp_path: Path, name: str) -> None:
    """An image, its repository and its owner can be pinned, however the address is written."""
    pins = Pins(tmp_path / "state" / "pins.json")
    assert pins.reason(IMAGE) == ""
    pins.pin(name)
    assert pins.reason(IMAGE, ["other:name"]) == f"it is pinned: {normal(name)}"


def test_pins_outlive_the_process(tmp_path: Path) -> None:
    """What was pinned is pinned after a restart, what was taken off is not."""
    file = tmp_path / "pins.json"
    pins = Pins(file, ["https://github.com/fixed/one"])
    for name in ("a", "b", "b", "github.com/fixed/one"):
        pins.pin(name)
    assert pins.unpin("a")
    assert not pins.unpin("never")
    again = Pins(file, ["https://github.com/fixed/one"])
    again.load()
    assert again.all == ["github.com/fixed/one", "b"]
    assert again.is_fixed("http://github.com/fixed/one/")
    assert not again.is_fixed("b")
    assert not again.unpin("github.com/fixed/one")


@pytest.mark.parametrize("text", ["", "nonsense", "7", '{"version": 2, "pins": ["a"]}', "[7]"])
def test_a_broken_file_is_no_pins(tmp_path: Path, text: str) -> None:
    """A file that makes no sense, or none, does not hinder the start, and is not written over."""
    file = tmp_path / "pins.json"
    pins = Pins(file)
    pins.load()
    file.write_text(text)
    pins.load()
    assert pins.all == []
    pins.pin("a")
    assert (tmp_path / "pins.unreadable").read_text() == text


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    """It is logged, and left as it is."""
    (tmp_path / "pins.json").mkdir()
    pins = Pins(tmp_path / "pins.json")
    pins.load()
    assert pins.all == []
