"""The files of the pages."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from binderlet.errors import ConfigError
from binderlet.pages.assets import CONTENT_TYPES, HERE, read_logo, read_static, read_templates


def test_every_static_file_is_served() -> None:
    """No file lies in the folder without a media type."""
    assert {path.name for path in (HERE / "static").iterdir()} == set(read_static())


def test_a_changed_file_has_another_version(tmp_path: Path) -> None:
    """The version names the content; what is no web file is left out."""
    (tmp_path / "a.css").write_text("a{}")
    (tmp_path / "notes.txt").write_text("not for the web")
    before = read_static(tmp_path)
    (tmp_path / "a.css").write_text("b{}")
    after = read_static(tmp_path)
    assert list(before) == ["a.css"]
    assert before["a.css"].etag != after["a.css"].etag
    assert before["a.css"].content_type == CONTENT_TYPES[".css"]


def test_nothing_is_fetched_from_other_sites() -> None:
    """Templates, styles and scripts name no foreign address to load from."""
    loaded = re.compile(r"(?:src|href|url|@import|from)\s*[=(]?\s*[\"']?(?:https?:)?//", re.IGNORECASE)
    for name, file in read_static().items():
        if name.endswith((".css", ".js")):
            assert not loaded.search(file.body.decode()), name
    loader = read_templates()
    for name in loader.list_templates():
        assert not loaded.search(loader.mapping[name]), name


def test_no_inline_handlers_or_styles() -> None:
    """The policy forbids them, so they would silently do nothing."""
    loader = read_templates()
    for name in loader.list_templates():
        assert not re.search(r"\s(?:on\w+|style)=", loader.mapping[name]), name


def test_a_logo(tmp_path: Path) -> None:
    """A sponsor's logo is a picture that is there."""
    (tmp_path / "logo.svg").write_text("<svg/>")
    (tmp_path / "logo.txt").write_text("logo")
    assert read_logo(tmp_path / "logo.svg").content_type == "image/svg+xml"
    with pytest.raises(ConfigError, match="neither SVG nor PNG"):
        read_logo(tmp_path / "logo.txt")
    with pytest.raises(ConfigError, match="cannot be read"):
        read_logo(tmp_path / "none.png")
