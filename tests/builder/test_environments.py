"""The record of environments."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

from structlog.testing import capture_logs

from binderlet.builder.conda.environment_file import EnvironmentFile
from binderlet.builder.environments import Environment, Environments, key_of
from binderlet.builder.plan import Kind, Plan


def environment(key: str, family: str = "f") -> Environment:
    """One environment."""
    return Environment(key, family, "base:1", "sha256:1", "3.11")


async def test_last_use(tmp_path: Path) -> None:
    """Each use counts, what was used last comes first, and a family is apart from others."""
    kept = Environments(tmp_path / "environments")
    assert await kept.listed() == []
    for key, family in (("a", "f"), ("b", "f"), ("c", "g")):
        await kept.use(environment(key, family))
    for at, key in enumerate(("c", "a", "b")):
        os.utime(tmp_path / "environments" / f"{key}.json", (at, at))
    assert [each.key for each in await kept.listed()] == ["b", "a", "c"]
    await kept.use(environment("a"))
    assert [each.key for each in await kept.family("f")] == ["a", "b"]
    (first, *_) = await kept.listed()
    assert (first.image, first.id, first.used_at > 1000) == ("binderlet/env:a", "sha256:1", True)


async def test_forget(tmp_path: Path) -> None:
    """What is forgotten is not listed; twice is once."""
    kept = Environments(tmp_path)
    await kept.use(environment("a"))
    await kept.forget("a")
    await kept.forget("a")
    assert await kept.listed() == []


async def test_damaged(tmp_path: Path) -> None:
    """A record that cannot be read is left out, with a warning; one that goes meanwhile, without."""
    kept = Environments(tmp_path)
    (tmp_path / "x.json").write_text("{")
    (tmp_path / "y.json").write_text("{}")
    (tmp_path / "z.json").symlink_to(tmp_path / "nothing")
    with capture_logs() as logs:
        assert await kept.listed() == []
    assert len(logs) == 2


def test_key_of() -> None:
    """The base image, the packages and conda's channels count; what repositories are called does not."""
    plan = Plan(Kind.PYTHON, "3.11", requirements={"r.txt": "a\n"}, requirements_file="r.txt")
    conda = replace(plan, conda=EnvironmentFile("environment.yml", specs=("toy",)))
    keys = {
        key_of(plan, "sha256:1", ()),
        key_of(plan, "sha256:2", ()),
        key_of(replace(plan, apt=("curl",)), "sha256:1", ()),
        key_of(conda, "sha256:1", ("a",)),
        key_of(conda, "sha256:1", ("b",)),
    }
    assert len(keys) == 5
    assert key_of(replace(plan, post_build="postBuild"), "sha256:1", ("a",)) in keys
