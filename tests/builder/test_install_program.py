"""The program that installs what was resolved, in folders that stand for an environment and uv's cache."""

from __future__ import annotations

import json
import os
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from binderlet.builder import install_program
from binderlet.builder.install_program import AGAIN, NEW, fetch, install, is_cached, is_installed, main, pylock

UV = """#!/bin/sh
for file; do :; done
cp "$file" "{folder}/$(ls {folder} | wc -l).toml"
echo "$*" >> {calls}
[ ! -e {calls}.fail ]
"""


def package(name: str, version: str = "1", size: int = 30_000_000) -> dict[str, Any]:
    """Give a package."""
    wheels = [{"url": f"https://files.test/{name}-{version}-py3-none-any.whl", "sha256": "ab"}]
    return {"name": name, "version": version, "size": size, "wheels": wheels}


class Step:
    """A build step's files, and what uv was asked for."""

    def __init__(self, folder: Path) -> None:
        self.cache, self.site, self.apart = folder / "cache", folder / "site", folder / "apart"
        self.calls, self.locks = folder / "calls", folder / "locks"
        for made in (self.cache, self.site, self.locks):
            made.mkdir()

    def run(self, *packages: dict[str, Any]) -> bool:
        """Install."""
        resolved = {"index": "https://index.test/simple", "packages": packages}
        return install(resolved, str(self.cache), str(self.apart), str(self.site))

    def have(self, name: str, version: str = "1", *, index: str = "pypi") -> None:
        """Put a wheel into the cache."""
        (self.cache / "wheels-v8" / index / name / f"{version}-py3-none-any").mkdir(parents=True)

    @property
    def asked(self) -> list[tuple[str, list[str]]]:
        """For each call of uv its link mode, and the packages."""
        if not self.calls.exists():
            return []
        modes = [line.split("--link-mode ")[1].split()[0] for line in self.calls.read_text().splitlines()]
        locks = [tomllib.loads(path.read_text()) for path in sorted(self.locks.iterdir())]
        return list(zip(modes, [[each["name"] for each in lock["packages"]] for lock in locks], strict=True))


@pytest.fixture
def step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Step]:
    """A step with a uv that writes down what it is asked for."""
    made = Step(tmp_path)
    program = tmp_path / "bin" / "uv"
    program.parent.mkdir()
    program.write_text(UV.format(folder=made.locks, calls=made.calls))
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:/usr/bin:/bin")
    yield made
    assert not Path(f"/tmp/pylock.{os.getpid()}.toml").exists()  # noqa: S108 - its own place


def test_new_wheels_are_linked(step: Step, capfd: pytest.CaptureFixture[str]) -> None:
    """What is not in the cache comes by way of a folder apart, the rest out of the cache."""
    step.have("old")
    (step.cache / "interpreter-v4").mkdir()
    assert step.run(package("new"), package("old"))
    assert step.asked == [("hardlink", ["new"]), ("copy", ["old"])]
    first, second = step.calls.read_text().splitlines()
    assert f"--cache-dir {step.apart} --no-build" in first
    assert f"--cache-dir {step.cache} --no-build" in second
    assert (step.apart / "interpreter-v4").resolve() == step.cache / "interpreter-v4"
    assert capfd.readouterr().out == f"{NEW} new.\n"


def test_all_is_new(step: Step) -> None:
    """Then one run does."""
    assert step.run(package("a"), package("b"))
    assert step.asked == [("hardlink", ["a", "b"])]


def test_little_is_new(step: Step) -> None:
    """Small wheels are not worth a second run."""
    step.have("old")
    assert step.run(package("new", size=1000), package("old"))
    assert step.asked == [("copy", ["new", "old"])]
    assert not step.apart.exists()


def test_what_is_installed_is_left(step: Step) -> None:
    """What the base image has is neither new nor old."""
    (step.site / "in_base-1.dist-info").mkdir()
    assert step.run(package("in-base"))
    assert step.asked == []
    assert not is_installed(package("in-base", "2"), str(step.site))


@pytest.mark.parametrize(
    ("index", "version", "expected"), [("pypi", "1", True), ("index/a1", "1", True), ("pypi", "1.1", False)]
)
def test_cached(step: Step, index: str, version: str, *, expected: bool) -> None:
    """A wheel of any index counts, of that version alone."""
    step.have("a", version, index=index)
    assert is_cached(package("a"), str(step.cache)) is expected


def test_a_wheel_that_is_gone(step: Step) -> None:
    """An entry that leads nowhere is no wheel, nor are the files beside it."""
    folder = step.cache / "wheels-v8" / "pypi" / "a"
    folder.mkdir(parents=True)
    (folder / "1-py3-none-any").symlink_to("../../../archive-v0/none")
    (folder / "1-py3-none-any.http").touch()
    assert not is_cached(package("a"), str(step.cache))


def test_pylock() -> None:
    """It is what the standard says, with where the package is from."""
    found = tomllib.loads(pylock("https://index.test/simple", [package("a")]))
    assert found["lock-version"] == "1.0"
    wheel = {"url": "https://files.test/a-1-py3-none-any.whl", "hashes": {"sha256": "ab"}}
    [only] = found["packages"]
    assert only == {"name": "a", "version": "1", "index": "https://index.test/simple", "wheels": [wheel]}


def test_fetch(step: Step) -> None:
    """Only what is missing is brought into the cache."""
    step.have("old")
    resolved = {"index": "https://index.test/simple", "packages": [package("new"), package("old")]}
    assert fetch(resolved, str(step.cache), str(step.site))
    assert step.asked == [("symlink", ["new"])]
    assert f"--cache-dir {step.cache}" in step.calls.read_text()
    assert "--target /tmp/" in step.calls.read_text()


def test_main(step: Step, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    """It says when it cannot, so that who called does it another way."""
    monkeypatch.setattr(install_program, "SITE", str(step.site))
    (tmp_path / "resolved.json").write_text(json.dumps({"index": "https://i.test", "packages": [package("new")]}))
    arguments = [str(tmp_path / "resolved.json"), str(step.cache)]
    assert main([*arguments, str(step.apart)]) == 0
    assert main(arguments) == 0
    assert step.asked == [("hardlink", ["new"]), ("symlink", ["new"])]
    Path(f"{step.calls}.fail").touch()
    assert main(arguments) == 1
    assert AGAIN not in capfd.readouterr().out
    assert main([*arguments, str(tmp_path / "apart-2")]) == 1
    assert AGAIN in capfd.readouterr().out
