"""Compiling the wheels in the package cache, as the program that does it in a build step."""

from __future__ import annotations

import importlib.util
import py_compile
import subprocess
import sys
import time
from pathlib import Path

from binderlet.builder import compile_wheels
from binderlet.builder.compile_wheels import compile_cache, main

SITE = "/srv/site-packages"
TAG = sys.implementation.cache_tag


def wheel(cache: Path, name: str, files: dict[str, str]) -> Path:
    """Unpack a pretended wheel into the cache."""
    folder = cache / "archive-v0" / name
    for path, text in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text)
    return folder


def test_a_wheel_is_compiled_once(tmp_path: Path) -> None:
    """Each source gets bytecode that is checked by its hash and names where the source is installed to."""
    folder = wheel(tmp_path, "a", {"p/__init__.py": "", "p/q.py": "x = 1\n", "p/data.txt": ""})
    assert compile_cache(tmp_path, SITE, time.monotonic() + 60) == 2
    code = (folder / f"p/__pycache__/q.{TAG}.pyc").read_bytes()
    assert code[:4] == importlib.util.MAGIC_NUMBER
    assert code[4] == 0b11
    assert f"{SITE}/p/q.py".encode() in code
    assert sorted(path.name for path in (tmp_path / compile_wheels.MARKERS).iterdir()) == ["a"]
    assert compile_cache(tmp_path, SITE, time.monotonic() + 60) == 0


def test_a_change_to_the_source_counts(tmp_path: Path) -> None:
    """Who edits an installed module runs what was written, although the module came with bytecode."""
    folder = wheel(tmp_path, "a", {"m.py": "print('old')\n"})
    compile_cache(tmp_path, SITE, time.monotonic() + 60)
    (folder / "m.py").write_text("print('new')\n")
    done = subprocess.run([sys.executable, "-c", "import m"], cwd=folder, capture_output=True, text=True, check=True)
    assert done.stdout == "new\n"


def test_what_cannot_be_compiled_is_left(tmp_path: Path) -> None:
    """Python 2, text that is no text, links, very large tables and what is compiled already do not matter."""
    folder = wheel(
        tmp_path,
        "a",
        {"old.py": "print 'x'\n", "deep.py": "x = " + "-" * 100_000 + "1\n", "done.py": "", "no/__pycache__/z.py": ""},
    )
    (folder / "bytes.py").write_bytes(b"\0\xff")
    (folder / "big.py").write_text("#" * (compile_wheels.LARGEST + 1))
    (folder / "link.py").symlink_to("done.py")
    py_compile.compile(str(folder / "done.py"))
    assert compile_cache(tmp_path, SITE, time.monotonic() + 60) == 0


def test_tests_are_left_alone(tmp_path: Path) -> None:
    """Packages' own tests are imported by nobody, and their bytecode would be in each image."""
    wheel(tmp_path, "a", {"p/tests/test_x.py": "", "p/sub/test/y.py": "", "p/testing.py": ""})
    assert compile_cache(tmp_path, SITE, time.monotonic() + 60) == 1


def test_unfinished_wheels_and_the_deadline(tmp_path: Path) -> None:
    """What is being unpacked is no wheel yet, and nothing begins after the deadline."""
    wheel(tmp_path, ".tmp1", {"m.py": ""})
    assert compile_cache(tmp_path, SITE, time.monotonic() + 60) == 0
    wheel(tmp_path, "a", {"m.py": ""})
    assert compile_cache(tmp_path, SITE, time.monotonic() - 1) == 0
    assert main([str(tmp_path), SITE, "60"]) == 0


def test_the_program_needs_only_the_standard_library(tmp_path: Path) -> None:
    """It runs where nothing is installed, and says how many files it compiled."""
    wheel(tmp_path, "a", {"m.py": ""})
    command = [sys.executable, "-I", "-S", compile_wheels.__file__, str(tmp_path), SITE, "60"]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "1\n"
