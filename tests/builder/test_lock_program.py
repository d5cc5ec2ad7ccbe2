"""The program that writes locks, in this interpreter's own environment."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

from binderlet.builder import lock_program
from binderlet.builder.lock_program import MARK, add_hashes, conda_packages, direct_url, fits, main, packages, tags

SHA = "b" * 64
PYLOCK = f"""\
[[packages]]
name = "iniconfig"
version = "2.0.0"
sdist = {{ url = "https://example.org/iniconfig-2.0.0.tar.gz", hashes = {{ sha256 = "{"a" * 64}" }} }}
wheels = [{{ url = "https://example.org/iniconfig-2.0.0-py3-none-any.whl", hashes = {{ sha256 = "{SHA}" }} }}]

[[packages]]
name = "other"
version = "1"
"""


def test_whole(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It writes every package of its environment, and the short form on a line of its own."""
    assert main(['{"format": 1, "debian": []}', str(tmp_path / "share" / "lock.json")]) == 0
    body = json.loads((tmp_path / "share" / "lock.json").read_text())
    found = {one["name"]: one for one in body["python_packages"]}
    assert found["pytest"] == {"name": "pytest", "version": version("pytest")}
    line = capsys.readouterr().out
    assert line.startswith(MARK)
    assert f"pytest=={version('pytest')}" in json.loads(line.removeprefix(MARK))["python_packages"]


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"url": "https://x/a.whl", "archive_info": {}}, "https://x/a.whl"),
        ({"url": "https://x/r", "vcs_info": {"vcs": "git", "commit_id": "12"}}, "git+https://x/r@12"),
        (
            {"url": "https://x/r", "vcs_info": {"vcs": "git", "commit_id": "12"}, "subdirectory": "p"},
            "git+https://x/r@12#subdirectory=p",
        ),
    ],
)
def test_direct_url(body: dict[str, object], expected: str) -> None:
    """What came from an address is asked for by it, with the commit."""
    assert direct_url(body) == expected


def test_hashes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The hash is that of the wheel that was installed, not of another file of the same version."""
    run = subprocess.CompletedProcess([], 0, stdout=PYLOCK, stderr="")
    monkeypatch.setattr(subprocess, "run", lambda *_args, **_more: run)
    (tmp_path / "WHEEL").write_text("Tag: py3-none-any\n")
    found: dict[str, dict[str, Any]] = {
        "iniconfig": {"name": "iniconfig", "version": "2.0.0", "info": tmp_path},
        "other": {"name": "other", "version": "2", "info": tmp_path},
        "own": {"name": "own", "version": "1", "url": "git+https://x"},
    }
    add_hashes(found, "/cache")
    assert found["iniconfig"]["hash"] == SHA
    assert "hash" not in found["other"]


def test_hashes_of_what_was_resolved(tmp_path: Path) -> None:
    """Nobody need be asked for these; of another version, or another wheel, they say nothing."""
    (tmp_path / "WHEEL").write_text("Tag: py3-none-any\n")
    wheels = [
        {"url": f"https://x/a-1-{tags}.whl", "sha256": sha} for tags, sha in (("cp39-x-y", "1"), ("py3-none-any", SHA))
    ]
    packages = [{"name": name, "version": "1", "wheels": wheels} for name in ("a", "b", "none")]
    (tmp_path / "resolved.json").write_text(json.dumps({"packages": packages}))
    found: dict[str, dict[str, Any]] = {
        name: {"name": name, "version": version, "info": tmp_path} for name, version in (("a", "1"), ("b", "2"))
    }
    add_hashes(found, "", str(tmp_path / "resolved.json"))
    assert found["a"]["hash"] == SHA
    assert "hash" not in found["b"]
    add_hashes(found, "", str(tmp_path / "none.json"))


def test_hashes_of_the_base_are_known_already(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the base image brought is pinned there."""
    (tmp_path / "base.txt").write_text("numpy==2.0 \\\n    --hash=sha256:1\n")
    monkeypatch.setattr(lock_program, "BASE_LOCK", tmp_path / "base.txt")
    found = {"numpy": {"name": "numpy", "version": "2.0"}}
    add_hashes(found, "/cache")
    assert found == {"numpy": {"name": "numpy", "version": "2.0"}}


def test_without_uv(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without uv a lock has no hashes, and says so."""
    monkeypatch.setenv("PATH", str(tmp_path))
    main(['{"debian": []}', str(tmp_path / "lock.json"), "/cache"])
    assert "Without hashes" in json.loads((tmp_path / "lock.json").read_text())["note"]


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://x/a-1-py2.py3-none-any.whl", True),
        ("https://x/a-1-cp311-cp311-manylinux_2_27_x86_64.manylinux_2_28_x86_64.whl", False),
        ("https://x/a-1.tar.gz", False),
    ],
)
def test_fits(url: str, *, expected: bool) -> None:
    """A file fits where one of its tags is the installed wheel's."""
    assert fits(url, {"py3-none-any"}) is expected


def test_conda(tmp_path: Path) -> None:
    """Packages of conda are their archives, with hashes."""
    (tmp_path / "conda-meta").mkdir()
    (tmp_path / "conda-meta" / "a.json").write_text('{"url": "https://c/a-1-0.conda", "sha256": "12"}')
    (tmp_path / "conda-meta" / "b.json").write_text('{"name": "b"}')
    assert conda_packages(tmp_path) == ["https://c/a-1-0.conda#12", "b"]


def test_debian(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of Debian's packages those are listed that were asked for, without what was said about their version."""
    program = tmp_path / "dpkg-query"
    program.write_text('#!/bin/sh\nshift 3; for name; do echo "$name=1.0"; done\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")
    assert lock_program.debian_packages(["vim=2:9.*", "curl/bookworm"]) == ["curl=1.0", "vim=1.0"]
    assert lock_program.debian_packages([]) == []


def test_packages_of_a_folder(tmp_path: Path) -> None:
    """A package's name and version are its folder's; one that came from an address keeps it; tags are its wheel's."""
    for name in ("Own.Package-1+cpu.dist-info", "legacy_one-2.0-py3.11.egg-info"):
        (tmp_path / name).mkdir()
    folder = tmp_path / "Own.Package-1+cpu.dist-info"
    (folder / "WHEEL").write_text("Tag: py3-none-any\n")
    (folder / "direct_url.json").write_text('{"url": "file:///x"}')
    found = packages(tmp_path)
    assert found["own-package"] == {"name": "own-package", "version": "1+cpu", "url": "file:///x", "info": folder}
    assert found["legacy-one"]["version"] == "2.0"
    assert tags(folder) == {"py3-none-any"}
    assert tags(tmp_path / "legacy_one-2.0-py3.11.egg-info") == set()


def test_as_a_program(tmp_path: Path) -> None:
    """It needs nothing but the standard library."""
    command = [sys.executable, "-I", "-S", lock_program.__file__, '{"debian": []}', str(tmp_path / "lock.json")]
    assert subprocess.run(command, capture_output=True, check=True).stdout.startswith(MARK.encode())
