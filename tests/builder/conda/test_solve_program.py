"""The program that solves and downloads; with the real library it runs in ``test_solver.py``."""

from __future__ import annotations

import hashlib
import json
import os
import runpy
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from binderlet.builder.conda.solver import SOLVE_PROGRAM
from support.conda_channel import Served
from support.fake_rattler import GatewayError, Record, Script, SolverError, program

URL = "https://user:word@x.test/t/token/ours"


@pytest.fixture
def script() -> Script:
    """The library's script."""
    return Script()


@pytest.fixture
def loaded(script: Script) -> Iterator[ModuleType]:
    """The program."""
    with program(SOLVE_PROGRAM, script) as module:
        yield module


def request(folder: Path, **changes: object) -> Path:
    """Write a request."""
    body = {
        "channels": [{"name": "ours", "url": URL}, {"name": "other", "url": "https://other.test/c"}],
        "attempts": [["a", "b"], ["a"]],
        "platform": "linux-64",
        "virtual_packages": [["__glibc", "2.36", "0"]],
        "exclude_newer": "",
        "lists": str(folder / "lists"),
        "packages": str(folder / "packages"),
        "limit": 10**9,
        "output": str(folder / "out" / "answer.json"),
        **changes,
    }
    path = folder / "request.json"
    path.write_text(json.dumps(body))
    return path


def answer(folder: Path) -> dict[str, Any]:
    """Read the answer."""
    body = json.loads((folder / "out" / "answer.json").read_text())
    assert isinstance(body, dict)
    return body


def test_second_attempt(loaded: ModuleType, script: Script, tmp_path: Path) -> None:
    """The first attempt that can be solved counts."""
    script.answers = [SolverError("no"), []]
    assert loaded.main(str(request(tmp_path, exclude_newer="2024-01-01"))) == 0
    assert answer(tmp_path) == {"attempt": 1, "packages": []}
    assert [asked["specs"] for asked in script.asked] == [["a", "b"], ["a"]]
    assert script.asked[0]["exclude_newer"].isoformat() == "2024-01-01T23:59:59+00:00"


def test_unsolvable(loaded: ModuleType, script: Script, tmp_path: Path) -> None:
    """The last attempt's words count."""
    script.answers = [SolverError("first"), SolverError("last")]
    assert loaded.main(str(request(tmp_path))) == 1
    assert answer(tmp_path) == {"error": "unsolvable", "about": "", "message": "last"}


def test_bad_spec(loaded: ModuleType, tmp_path: Path) -> None:
    """A spec that cannot be read is named."""
    loaded.main(str(request(tmp_path, attempts=[["a=>1"]])))
    assert answer(tmp_path) == {"error": "spec", "about": "a=>1", "message": "cannot read a=>1"}


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ("error sending request for url (https://x.test/ours/noarch)\nCaused by: dns error", ("channel", "ours")),
        ("dns error for other.test", ("channel", "other")),
        ("could not find subdir 'noarch' in channel 'https://other.test/c/'", ("no channel", "other")),
        ("nobody knows", ("channel", "ours")),
    ],
)
def test_unreachable(
    loaded: ModuleType, script: Script, tmp_path: Path, message: str, expected: tuple[str, str]
) -> None:
    """The channel that failed is named."""
    script.answers = [GatewayError(message)]
    loaded.main(str(request(tmp_path)))
    body = answer(tmp_path)
    assert (body["error"], body["about"]) == expected
    assert "\n" not in body["message"]


def test_stumbling_server(loaded: ModuleType, script: Script, tmp_path: Path) -> None:
    """A server that cannot give parts of its list is asked for all of it."""
    odd = GatewayError("received unexpected status code (304 Not Modified)")
    script.answers = [odd, []]
    assert loaded.main(str(request(tmp_path))) == 0
    script.answers = [odd, odd]
    assert loaded.main(str(request(tmp_path))) == 1
    assert answer(tmp_path)["error"] == "channel"


def test_surprise(loaded: ModuleType, script: Script, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Whatever else the library raises is told in a sentence, without passwords."""
    script.answers = [RuntimeError(f"odd {URL}/x")]
    assert loaded.main(str(request(tmp_path))) == 1
    assert answer(tmp_path)["error"] == "failed"
    assert capsys.readouterr().out == "RuntimeError: odd https://x.test/ours/x\n"


def test_no_attempt(loaded: ModuleType, tmp_path: Path) -> None:
    """A request without an attempt is our own mistake."""
    assert loaded.main(str(request(tmp_path, attempts=[]))) == 1


@pytest.fixture
def package(channels: Served) -> Record:
    """A package on the real server."""
    path = next((channels.folder / "ours" / "noarch").glob("toy-2.0-*"))
    return Record(
        path.name,
        f"{channels.url}/ours/noarch/{path.name}",
        sha256=hashlib.sha256(path.read_bytes()).digest(),
        size=path.stat().st_size,
    )


def test_download(loaded: ModuleType, script: Script, tmp_path: Path, package: Record, channels: Served) -> None:
    """An archive is fetched once, with the address's password, which is not in the answer."""
    package.url = package.url.replace("//", "//user:se%40cret@")
    channels.authorization.clear()
    for _ in range(2):
        script.answers = [[package]]
        assert loaded.main(str(request(tmp_path))) == 0
    (entry,) = answer(tmp_path)["packages"]
    assert "user" not in entry["url"]
    assert hashlib.sha256(Path(entry["archive"]).read_bytes()).hexdigest() == entry["sha256"]
    assert [value for value in channels.authorization if value] == ["Basic dXNlcjpzZUBjcmV0"]


def test_by_md5(loaded: ModuleType, script: Script, tmp_path: Path, package: Record, channels: Served) -> None:
    """Old channels know no other hash."""
    content = (channels.folder / "ours" / "noarch" / package.file_name).read_bytes()
    package.sha256, package.md5 = None, hashlib.md5(content, usedforsecurity=False).digest()
    script.answers = [[package]]
    assert loaded.main(str(request(tmp_path))) == 0


@pytest.mark.parametrize(
    "case",
    [
        ({"sha256": b"\0" * 32}, "is not the file of the channel's list"),
        ({"sha256": None}, "has no hash of"),
        ({"file_name": "../x"}, "has no hash of ../x"),
    ],
)
def test_not_what_was_listed(
    loaded: ModuleType, script: Script, tmp_path: Path, package: Record, case: tuple[dict[str, object], str]
) -> None:
    """An archive that is not what the list says is not kept, nor one that cannot be checked."""
    changes, message = case
    for name, value in changes.items():
        setattr(package, name, value)
    script.answers = [[package]]
    assert loaded.main(str(request(tmp_path))) == 1
    assert message in answer(tmp_path)["message"]
    assert answer(tmp_path)["error"] == "download"
    assert not [path for path in (tmp_path / "packages").rglob("*") if path.is_file()]


def test_gone_and_cut(
    loaded: ModuleType, script: Script, tmp_path: Path, package: Record, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is not there is not asked for again; what is cut is tried three times."""
    monkeypatch.setattr(loaded.time, "sleep", lambda _: None)
    package.url += "x"
    script.answers = [[package]]
    assert loaded.main(str(request(tmp_path))) == 1
    assert "404" in answer(tmp_path)["message"]
    tries: list[int] = []

    def copy(*_: object) -> str:
        tries.append(1)
        raise ConnectionResetError("cut")

    monkeypatch.setattr(loaded, "copy", copy)
    script.answers = [[package]]
    assert loaded.main(str(request(tmp_path))) == 1
    assert len(tries) == 3


def test_prune(loaded: ModuleType, tmp_path: Path) -> None:
    """What was not used for longest goes first; never what is needed now, or may be by another build."""
    now = time.time()
    for name, age in (("a", 9000), ("b", 8000), ("c", 7000), ("d", 10)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "x").write_bytes(b"12345")
        os.utime(tmp_path / name / "x", (now - age, now - age))
    loaded.prune(tmp_path, 10, {str(tmp_path / "a" / "x")})
    assert sorted(path.parent.name for path in tmp_path.glob("*/x")) == ["a", "c", "d"]
    loaded.prune(tmp_path, 0, set())
    assert [path.parent.name for path in tmp_path.glob("*/x")] == ["d"]


def test_leaves_without_ending_python(script: Script, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a program it leaves at once when it is done."""
    codes: list[int] = []
    monkeypatch.setattr(os, "_exit", codes.append)
    monkeypatch.setattr(sys, "argv", ["solve", str(request(tmp_path))])
    script.answers = [[]]
    with program(SOLVE_PROGRAM, script):
        runpy.run_path(str(SOLVE_PROGRAM), run_name="__main__")
    assert codes == [0]
