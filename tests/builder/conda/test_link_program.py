"""The program that links; with the real library it runs in ``test_conda_builds.py``."""

from __future__ import annotations

import json
import os
import runpy
import sys
from pathlib import Path

import pytest

from binderlet.builder.conda.recipe import LINK_PROGRAM
from support.fake_rattler import Script, program

PACKAGE = {
    "name": "toy",
    "version": "1.0",
    "build": "0",
    "url": "https://x.test/c/noarch/toy-1.0-0.conda",
    "md5": "",
    "sha256": "ab",
    "path": "ab/toy-1.0-0.conda",
}


def given(folder: Path) -> tuple[Path, Path, Path]:
    """Make the program's arguments: packages, an environment with something in it, a cache."""
    (folder / "in").mkdir()
    (folder / "in" / "packages.json").write_text(json.dumps([PACKAGE]))
    prefix = folder / "prefix"
    (prefix / "lib").mkdir(parents=True)
    (prefix / "file").touch()
    (prefix / "link").symlink_to("lib")
    return folder / "in", prefix, folder / "cache"


def test_links(tmp_path: Path) -> None:
    """What was there is gone; the packages say where they come from; no script of theirs runs."""
    script = Script()
    folder, prefix, cache = given(tmp_path)
    with program(LINK_PROGRAM, script) as loaded:
        loaded.link(folder, prefix, cache)
    assert [path.name for path in prefix.iterdir()] == ["conda-meta"]
    assert script.installed[0]["execute_link_scripts"] is False
    record = json.loads((prefix / "conda-meta" / "toy-1.0-0.json").read_text())
    assert record["url"] == PACKAGE["url"]
    assert record["channel"] == "https://x.test/c"
    assert (prefix / "conda-meta" / "explicit.txt").read_text() == f"@EXPLICIT\n{PACKAGE['url']}#ab\n"


def test_no_environment_yet(tmp_path: Path) -> None:
    """There need not be one."""
    with program(LINK_PROGRAM, Script()) as loaded:
        loaded.clear(tmp_path / "nothing")


def test_leaves_without_ending_python(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a program it leaves at once when it is done."""
    codes: list[int] = []
    monkeypatch.setattr(os, "_exit", codes.append)
    monkeypatch.setattr(sys, "argv", ["link", *map(str, given(tmp_path))])
    with program(LINK_PROGRAM, Script()):
        runpy.run_path(str(LINK_PROGRAM), run_name="__main__")
    assert codes == [0]
